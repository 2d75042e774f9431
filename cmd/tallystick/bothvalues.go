package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/online"
	"github.com/tallystick/tallystick/store/reconcile"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/definition"
	"github.com/tallystick/tallystick/transforms/rows"
)

// shownFeatures is how many features of a view are shown.
const shownFeatures = 12

// show prints an entity of every view as both stores have it: Redis now, Parquet
// at the boundary that was compared.
func (l *loop) show(ctx context.Context, out *reconcileOutput) error {
	for i, v := range l.vs {
		row, err := l.example(ctx, v, out.Views[i])
		if err != nil {
			return fmt.Errorf("view %s: %w", v.Name, err)
		}
		if row == nil {
			continue
		}
		reader, err := l.redis.Reader(v)
		if err != nil {
			return err
		}
		now, err := reader.Read(ctx, row.Entity, row.Boundary)
		if err != nil {
			return fmt.Errorf("view %s: %w", v.Name, err)
		}
		if err := l.showBoth(v, row, now); err != nil {
			return err
		}
	}
	return nil
}

// example returns the row with the most values that are present, nil when the
// table has none at that boundary.
func (l *loop) example(ctx context.Context, v *definition.View, rep *reconcile.Report) (*rows.Feature, error) {
	tables, err := l.tables(l.out, "", v)
	if err != nil {
		return nil, err
	}
	published, err := tables.Published(ctx)
	if err != nil {
		return nil, err
	}
	var best *rows.Feature
	most := -1
	for f, err := range (offlineSide{published}).Features(ctx, schemas.Micros(rep.TableAsOf)) {
		if err != nil {
			return nil, err
		}
		if n := present(f.Results); n > most {
			most, best = n, &rows.Feature{Entity: append([]byte{}, f.Entity...), Boundary: f.Boundary, Results: append([]transforms.Result{}, f.Results...)}
		}
	}
	return best, nil
}

func present(rs []transforms.Result) (n int) {
	for _, r := range rs {
		if r.Status == transforms.Present || r.Status == transforms.Approximate {
			n++
		}
	}
	return n
}

func (l *loop) showBoth(v *definition.View, row *rows.Feature, now *online.Answer) error {
	engine, err := transforms.NewView(v.Spec)
	if err != nil {
		return err
	}
	key, err := engine.DecodeEntity(row.Entity)
	if err != nil {
		return err
	}
	var name []string
	for i, k := range v.Key() {
		name = append(name, k.Name+"="+key[i].String())
	}
	fmt.Fprintf(l.w, "\n%s of %s\n  %-28s %-28s %s\n", v.Name, strings.Join(name, " "), "",
		"Redis, at "+secondText(now.AsOf), "Parquet, at "+secondText(row.Boundary))
	for i, f := range v.FeatureNames() {
		if i == shownFeatures && len(v.FeatureNames()) > i+1 { // the line that says so would hold the last one
			fmt.Fprintf(l.w, "  and %d more: `tallystick get` and the tables have all\n", len(v.FeatureNames())-i)
			break
		}
		fmt.Fprintf(l.w, "  %-28s %-28s %s\n", f, resultText(now.Results[i]), resultText(row.Results[i]))
	}
	return nil
}

// secondText is an instant without its fraction.
func secondText(t schemas.Micros) string { return t.Floor(schemas.Second).String() }

// resultText is a value, with its status where that says more.
func resultText(r transforms.Result) string {
	if r.Status == transforms.Present {
		return fmt.Sprint(jsonValue(r.Value))
	}
	if r.Value.IsNull() {
		return r.Status.String()
	}
	return fmt.Sprint(jsonValue(r.Value)) + " " + r.Status.String()
}
