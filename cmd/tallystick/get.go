package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/online"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/definition"
	"github.com/tallystick/tallystick/transforms/expr"
)

// getFlags are the flags of `get`.
type getFlags struct {
	common
	redisFlags
	at string
}

func getCommand() *cobra.Command {
	var g getFlags
	cmd := &cobra.Command{
		Use:   "get VIEW|SERVICE KEY=VALUE…",
		Short: "Read the features of an entity from the online store",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("name a view or a service and its key: tallystick get VIEW KEY=VALUE…")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.run(cmd.Context(), cmd.OutOrStdout(), args[0], args[1:])
		},
	}
	g.definitionFlag(cmd)
	g.jsonFlag(cmd)
	g.redisFlags.add(cmd)
	cmd.Flags().StringVar(&g.at, "at", "", "ask as of this `INSTANT`, RFC 3339 (default: now); never before the log clock")
	return cmd
}

func (g *getFlags) run(ctx context.Context, w io.Writer, name string, args []string) error {
	if err := g.redisFlags.check(); err != nil {
		return err
	}
	def, err := g.load()
	if err != nil {
		return err
	}
	a, err := askedBy(def, name)
	if err != nil {
		return err
	}
	key, err := parseKey(a.keys, args)
	if err != nil {
		return err
	}
	q := schemas.Micros(time.Now().UnixMicro())
	if g.at != "" {
		if q, err = parseInstant("--at", g.at); err != nil {
			return err
		}
	}
	redis, err := g.redisFlags.open(ctx)
	if err != nil {
		return err
	}
	defer redis.Close()
	out, err := g.read(ctx, redis, a, key, q)
	if err != nil {
		return err
	}
	if g.json {
		return printJSON(w, out)
	}
	out.print(w)
	return nil
}

// askedBy finds the view or else the service of that name.
func askedBy(def *definition.Definition, name string) (*asked, error) {
	t := trainFlags{view: name}
	if _, err := def.View(name); err != nil {
		if _, e := def.Service(name); e != nil {
			return nil, unknownName(def, name)
		}
		t = trainFlags{service: name}
	}
	return t.ask(def)
}

func unknownName(def *definition.Definition, name string) error {
	var known []string
	for _, v := range def.Views {
		known = append(known, v.Name)
	}
	for _, s := range def.Services {
		known = append(known, s.Name)
	}
	hint := expr.DidYouMean(name, known)
	if hint == "" {
		hint = "there are " + strings.Join(known, ", ")
	}
	return usagef("no view or service is called `%s`; %s", name, hint)
}

// parseKey reads KEY=VALUE arguments, one for every key field.
func parseKey(keys []definition.KeyField, args []string) (map[string]schemas.Value, error) {
	out := map[string]schemas.Value{}
	var names []string
	for _, k := range keys {
		names = append(names, k.Name+"="+strings.ToUpper(k.Kind.String()))
	}
	want := strings.Join(names, " ")
	for _, arg := range args {
		name, text, ok := strings.Cut(arg, "=")
		if !ok {
			return nil, usagef("%q is not KEY=VALUE; the key is %s", arg, want)
		}
		field := -1
		for i, k := range keys {
			if k.Name == name {
				field = i
			}
		}
		if field < 0 {
			return nil, usagef("%q is not a key field; the key is %s", name, want)
		}
		if _, twice := out[name]; twice {
			return nil, usagef("%s is given twice", name)
		}
		v, err := parseKeyValue(keys[field].Kind, text)
		if err != nil {
			return nil, usagef("%s: %w", name, err)
		}
		out[name] = v
	}
	for _, k := range keys {
		if _, ok := out[k.Name]; !ok {
			return nil, usagef("the key field %s is missing; the key is %s", k.Name, want)
		}
	}
	return out, nil
}

func parseKeyValue(k schemas.Kind, text string) (schemas.Value, error) {
	switch k {
	case schemas.Int:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return schemas.Value{}, fmt.Errorf("%q is not a 64-bit integer", text)
		}
		return schemas.IntValue(n), nil
	case schemas.Bool:
		if text != "true" && text != "false" {
			return schemas.Value{}, fmt.Errorf("%q is neither true nor false", text)
		}
		return schemas.BoolValue(text == "true"), nil
	case schemas.Timestamp:
		t, err := schemas.ParseInstant(text)
		return schemas.TimestampValue(t), err
	case schemas.Bytes:
		b, err := hex.DecodeString(text)
		if err != nil {
			return schemas.Value{}, fmt.Errorf("%q is not hexadecimal", text)
		}
		return schemas.BytesValue(string(b)), nil
	}
	return schemas.StringValue(text), nil
}

// getOutput is what `get --json` prints.
type getOutput struct {
	Name     string       `json:"name"`
	AsOf     string       `json:"as_of"`
	Features []gotFeature `json:"features"`
	Views    []gotView    `json:"views"`
}

type gotFeature struct {
	Feature string `json:"feature"`
	Value   any    `json:"value"` // null, boolean, number, string or an array of these; instants as RFC 3339, bytes as hex
	Status  string `json:"status"`
}

// gotView says how fresh a view's answer is.
type gotView struct {
	View      string        `json:"view"`
	Newest    *string       `json:"newest_event_time" jsonschema:"nullable"`
	Clock     *string       `json:"clock" jsonschema:"nullable"` // the least of the partitions
	Positions []gotPosition `json:"positions"`
}

type gotPosition struct {
	Partition     int32   `json:"partition"`
	Next          int64   `json:"next"`
	Clock         *string `json:"clock" jsonschema:"nullable"`
	Bootstrapping bool    `json:"bootstrapping,omitempty"`
}

// read answers all views as of one t: where a log clock lies beyond it, t moves
// on and the others are read again (V4).
func (g *getFlags) read(ctx context.Context, redis *online.Client, a *asked, key map[string]schemas.Value, q schemas.Micros) (*getOutput, error) {
	answers := make([]*online.Answer, len(a.views))
	for settled := 0; settled < len(a.views); {
		for i, v := range a.views {
			if answers[i] != nil && answers[i].AsOf == q {
				continue
			}
			ans, err := readView(ctx, redis, v, key, q)
			if err != nil {
				return nil, err
			}
			answers[i], q = ans, max(q, ans.AsOf)
		}
		settled = 0
		for _, ans := range answers {
			if ans.AsOf == q {
				settled++
			}
		}
	}
	out := &getOutput{Name: a.name, AsOf: q.String()}
	for _, c := range a.columns {
		r := answers[c.view].Results[c.feature]
		out.Features = append(out.Features, gotFeature{c.name, jsonValue(r.Value), r.Status.String()})
	}
	for i, v := range a.views {
		newest, clock := answers[i].Freshness()
		gv := gotView{View: v.Name, Newest: instant(newest), Clock: instant(clock)}
		for _, p := range answers[i].Positions {
			gv.Positions = append(gv.Positions, gotPosition{p.Partition, p.Next, instant(p.Clock), p.Bootstrapping})
		}
		out.Views = append(out.Views, gv)
	}
	return out, nil
}

func readView(ctx context.Context, redis *online.Client, v *definition.View, key map[string]schemas.Value, q schemas.Micros) (*online.Answer, error) {
	live, err := redis.Live(ctx, v.Name)
	if err != nil {
		return nil, err
	}
	if live != "" && live != v.Fingerprint {
		return nil, fmt.Errorf("view %s: readers use fingerprint %s, this definition is %s: read with the definition that is live; or fill this one with `tallystick stream` and have readers switch to it with `tallystick live %s`", v.Name, live, v.Fingerprint, v.Name)
	}
	reader, err := redis.Reader(v)
	if err != nil {
		return nil, err
	}
	values := make([]schemas.Value, 0, 4)
	for _, k := range v.Key() {
		values = append(values, key[k.Name])
	}
	return reader.Read(ctx, transforms.EncodeEntity(nil, values...), q)
}

// jsonValue returns a value as JSON has it.
func jsonValue(v schemas.Value) any {
	if v.Kind() == schemas.List {
		list := make([]any, 0, v.Len())
		for _, x := range v.Elements() {
			list = append(list, jsonValue(x))
		}
		return list
	}
	switch v.Kind() {
	case schemas.Null:
		return nil
	case schemas.Bool:
		return v.Bool()
	case schemas.Int:
		return v.Int()
	case schemas.Double:
		return v.Double()
	}
	return v.String()
}

func (o *getOutput) print(w io.Writer) {
	fmt.Fprintf(w, "as of %s\n", o.AsOf)
	for _, f := range o.Features {
		value := "null"
		if f.Value != nil {
			value = fmt.Sprint(f.Value)
		}
		fmt.Fprintf(w, "  %-36s %-22s %s\n", f.Feature, value, f.Status)
	}
	for _, v := range o.Views {
		fmt.Fprintf(w, "%s: newest event %s, clock %s, positions", v.View, orNone(v.Newest), orNone(v.Clock))
		for _, p := range v.Positions {
			fmt.Fprintf(w, " %d:%d", p.Partition, p.Next)
		}
		fmt.Fprintln(w)
	}
}

func orNone(s *string) string {
	if s == nil {
		return "none"
	}
	return *s
}
