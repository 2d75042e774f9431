"""Reads Delta tables with an engine that is not ours, one request a line.

usage: read.py delta-rs|duckdb|spark JARS
in:  {"uri": …, "version": N or null, "where": SQL or null}
out: {"columns": {name: Delta type}, "rows": [[text of each column, by name]…]}
     or {"error": …}
"""

import datetime
import glob
import json
import os
import sys

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def text(v):
    """One text for one value, whatever the engine calls it."""
    if v is None:
        return "null"
    if isinstance(v, bool):
        return "true" if v else "false"
    if isinstance(v, float):
        return v.hex()
    if isinstance(v, (bytes, bytearray, memoryview)):
        return "0x" + bytes(v).hex()
    if isinstance(v, datetime.datetime):
        if v.tzinfo is None:
            raise ValueError(f"{v}: an instant without a zone")
        return "@" + str((v - EPOCH) // datetime.timedelta(microseconds=1))
    if isinstance(v, datetime.date):
        return v.isoformat()
    return str(v)


def s3():
    return os.environ["AWS_ENDPOINT_URL"].removeprefix("http://")


class Arrow:
    """What an engine hands over as an Arrow table."""

    TYPES = {"int64": "long", "int32": "integer", "double": "double", "string": "string", "large_string": "string", "string_view": "string",
             "binary": "binary", "large_binary": "binary", "binary_view": "binary", "bool": "boolean", "date32[day]": "date"}

    def read(self, request):
        table = self.table(request)
        columns = {}
        for f in table.schema:
            kind = str(f.type)
            columns[f.name] = "timestamp" if kind.startswith("timestamp[us, tz=") else self.TYPES.get(kind, kind)
        names = sorted(columns)
        data = [table.column(n).to_pylist() for n in names]
        return {"columns": columns, "rows": [[text(v) for v in row] for row in zip(*data)]}


class DeltaRS(Arrow):
    def table(self, request):
        import deltalake

        options = None
        if request["uri"].startswith("s3://"):
            options = {"AWS_ALLOW_HTTP": "true"}
        t = deltalake.DeltaTable(request["uri"], version=request["version"], storage_options=options)
        if request["where"] is None:
            return t.to_pyarrow_table()
        builder = deltalake.QueryBuilder().register("t", t)
        import pyarrow

        return pyarrow.table(builder.execute("select * from t where " + request["where"]).read_all())


class DuckDB(Arrow):
    def __init__(self):
        import duckdb

        self.db = duckdb.connect(config={"allow_unsigned_extensions": "true"})
        here = os.path.dirname(os.path.dirname(duckdb.__file__))
        for name in ["httpfs", "delta"]:
            (file,) = glob.glob(f"{here}/duckdb_extension_{name}/extensions/*/{name}.duckdb_extension")
            self.db.execute(f"load '{file}'")
        if os.environ.get("AWS_ENDPOINT_URL"):
            self.db.execute(
                f"create secret (type s3, key_id '{os.environ['AWS_ACCESS_KEY_ID']}', secret '{os.environ['AWS_SECRET_ACCESS_KEY']}',"
                f" region 'us-east-1', endpoint '{s3()}', url_style 'path', use_ssl false)")

    def table(self, request):
        version = "" if request["version"] is None else f", version={request['version']}"
        where = "" if request["where"] is None else " where " + request["where"]
        return self.db.execute(f"from delta_scan('{request['uri']}'{version}){where}").to_arrow_table()


class Spark:
    TYPES = {"bigint": "long", "int": "integer"}

    def __init__(self, jars):
        from pyspark.sql import SparkSession

        b = SparkSession.builder.master("local[2]").config("spark.jars", ",".join(sorted(glob.glob(jars + "/*.jar"))))
        options = {
            "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
            "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
            "spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1",
            "spark.sql.shuffle.partitions": "2", "spark.driver.memory": "1g", "spark.log.level": "ERROR",
            "spark.databricks.delta.snapshotPartitions": "2",
        }
        if os.environ.get("AWS_ENDPOINT_URL"):
            options |= {
                "spark.hadoop.fs.s3a.endpoint": os.environ["AWS_ENDPOINT_URL"], "spark.hadoop.fs.s3a.path.style.access": "true",
                "spark.hadoop.fs.s3a.endpoint.region": "us-east-1", "spark.hadoop.fs.s3a.connection.ssl.enabled": "false",
                "spark.hadoop.fs.s3a.access.key": os.environ["AWS_ACCESS_KEY_ID"], "spark.hadoop.fs.s3a.secret.key": os.environ["AWS_SECRET_ACCESS_KEY"],
            }
        for k, v in options.items():
            b = b.config(k, v)
        self.spark = b.getOrCreate()

    def read(self, request):
        uri = request["uri"].replace("s3://", "s3a://")
        version = "" if request["version"] is None else f" version as of {request['version']}"
        where = "" if request["where"] is None else " where " + request["where"]
        df = self.spark.sql(f"select * from delta.`{uri}`{version}{where}")
        columns = {n: self.TYPES.get(t, t) for n, t in df.dtypes}
        names = sorted(columns)
        # An instant comes to Python without its zone: as microseconds it is whole.
        exprs = [f"unix_micros(`{n}`) as `{n}`" if columns[n] == "timestamp" else f"`{n}`" for n in names]
        rows = []
        for row in df.selectExpr(*exprs).collect():
            rows.append(["@" + str(v) if columns[n] == "timestamp" and v is not None else text(v) for n, v in zip(names, row)])
        return {"columns": columns, "rows": rows}


def main():
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # an engine's own words go elsewhere
    engine = {"delta-rs": DeltaRS, "duckdb": DuckDB, "spark": lambda: Spark(sys.argv[2])}[sys.argv[1]]()
    for line in sys.stdin:
        try:
            answer = engine.read(json.loads(line))
        except Exception as e:  # told to the test, which goes on
            answer = {"error": f"{type(e).__name__}: {e}"}
        print(json.dumps(answer), file=out, flush=True)


main()
