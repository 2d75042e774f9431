package definition

import (
	"strings"

	"github.com/tallystick/tallystick/transforms/expr"
	"gopkg.in/yaml.v3"
)

func (p *parser) service(e entry) *Service {
	s := &Service{Name: e.key}
	if e.value.Kind == yaml.MappingNode {
		p.fail(e.value, "write `"+e.key+": [view.*, other.feature]`", "service %s must be a list of features", e.key)
		return s
	}
	listed := map[ServiceFeature]bool{}
	for _, n := range p.list(e.value) {
		text, ok := p.text(n, "a feature of service "+e.key)
		if !ok {
			continue
		}
		for _, f := range p.serviceFeatures(n, text) {
			if listed[f] {
				p.fail(n, "remove one of them", "`%s` is listed twice in service %s", f.Name(), e.key)
				continue
			}
			listed[f] = true
			s.Features = append(s.Features, f)
		}
	}
	if e.value.Kind == yaml.SequenceNode && len(e.value.Content) == 0 {
		p.fail(e.value, "list features as view.feature or view.*", "service %s has no features", e.key)
	}
	p.serviceKey(s, e)
	return s
}

// serviceFeatures resolves view.feature or view.*.
func (p *parser) serviceFeatures(n *yaml.Node, text string) []ServiceFeature {
	viewName, name, ok := strings.Cut(text, ".")
	if !ok {
		p.fail(n, "write `"+text+".*` for a whole view, or `view.feature`", "`%s` names no feature", text)
		return nil
	}
	var view *View
	var names []string
	for _, v := range p.def.Views {
		if v.Name == viewName {
			view = v
		}
		names = append(names, v.Name)
	}
	if view == nil {
		p.fail(n, expr.DidYouMean(viewName, names), "unknown view `%s`", viewName)
		return nil
	}
	if len(view.Spec.Features) == 0 {
		return nil // its faults are reported
	}
	var out []ServiceFeature
	if name == "*" {
		for i := range view.Spec.Features {
			out = append(out, ServiceFeature{view, i})
		}
		return out
	}
	i := view.Feature(name)
	if i < 0 {
		line, col := p.place(n, 1, len([]rune(viewName))+2)
		p.failAt(line, col, expr.DidYouMean(name, view.FeatureNames()), "unknown feature `%s` in view %s", name, viewName)
		return nil
	}
	return []ServiceFeature{{view, i}}
}

// serviceKey joins the key fields of the views; a name means one thing.
func (p *parser) serviceKey(s *Service, e entry) {
	first := map[string]string{}
	for _, v := range s.Views() {
	fields:
		for _, k := range v.Key() {
			for _, have := range s.Key {
				if have.Name != k.Name {
					continue
				}
				if have.Kind != k.Kind {
					p.fail(e.at, "rename the key field of one view", "key field `%s` is %s in view %s and %s in view %s",
						k.Name, expr.Article(have.Kind), first[k.Name], expr.Article(k.Kind), v.Name)
				}
				continue fields
			}
			first[k.Name] = v.Name
			s.Key = append(s.Key, k)
		}
	}
}
