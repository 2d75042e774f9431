package reconcile

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"

	"github.com/tallystick/tallystick/transforms"
)

//go:embed report.html.tmpl
var htmlText string

// WriteHTML writes the reports as one page that needs nothing else: verdicts,
// denominators, features, causes, ledgers, and how late records were.
func WriteHTML(w io.Writer, reports []*Report) error {
	t, err := template.New("report").Funcs(template.FuncMap{"n": count}).Parse(htmlText)
	if err != nil {
		return err
	}
	page := struct {
		Title   string
		Reports []htmlReport
	}{}
	var words []string
	for _, rep := range reports {
		page.Reports = append(page.Reports, htmlReport{rep})
		words = append(words, rep.View+" "+string(rep.Verdict))
	}
	page.Title = strings.Join(words, ", ")
	return t.Execute(w, page)
}

// htmlReport is a report as the page shows it.
type htmlReport struct{ *Report }

var htmlClasses = map[Verdict]string{Equal: "equal", Differs: "differs", NothingCompared: "nothing"}
var htmlWords = map[Verdict]string{Equal: "Equal, to the bit", Differs: "The stores differ", NothingCompared: "Nothing was compared"}

func (r htmlReport) Class() string { return htmlClasses[r.Verdict] }
func (r htmlReport) Word() string  { return htmlWords[r.Verdict] }

// Headline is the rest of the verdict, with its denominators.
func (r htmlReport) Headline() string {
	if _, rest, ok := strings.Cut(r.headline(), ": "); ok && r.Verdict == Equal {
		return rest
	}
	return r.headline()
}

func (r htmlReport) ComparedStates() int64 { return r.States - r.Skipped }

func (r htmlReport) More() bool { return int64(len(r.Listed)) < r.Differences }

type htmlCause struct {
	Cause Cause
	N     int64
}

func (r htmlReport) CauseRows() (rows []htmlCause) {
	for _, c := range Causes() {
		rows = append(rows, htmlCause{c, r.Causes[c]})
	}
	return rows
}

type htmlDifference struct {
	Cause                  Cause
	Where, Online, Offline string
	Evidence               string
}

func (r htmlReport) Rows() (rows []htmlDifference) {
	for i := range r.Listed {
		d := &r.Listed[i]
		rows = append(rows, htmlDifference{d.Cause, d.where(), d.Online, d.Offline, d.Evidence.Text})
	}
	return rows
}

type htmlLedger struct {
	Word            string
	Online, Offline int64
}

func (r htmlReport) LedgerRows() (rows []htmlLedger) {
	on, off := sum(r.Ledgers.Online), sum(r.Ledgers.Offline)
	rows = append(rows, htmlLedger{"read", on.Read(), off.Read()})
	for o := range transforms.Outcomes {
		rows = append(rows, htmlLedger{o.String(), *on.Count(o), *off.Count(o)})
	}
	return append(rows, htmlLedger{"conflicts", on.Conflicts, off.Conflicts}, htmlLedger{"sealed early", on.SealedEarly, off.SealedEarly})
}

// Size of the chart in user units; it scales to the page.
const (
	chartWidth  = 720.0
	chartHeight = 160.0
	chartFoot   = 18.0
)

// Chart draws late records per day as bars; empty when there are none.
func (r htmlReport) Chart() template.HTML {
	var most int64
	for _, d := range r.Days {
		most = max(most, d.Late)
	}
	if most == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %g %g" role="img" aria-label="late records per day">`, chartWidth, chartHeight+chartFoot)
	step := chartWidth / float64(len(r.Days))
	for i, d := range r.Days {
		h := float64(d.Late) / float64(most) * (chartHeight - 14)
		fmt.Fprintf(&b, `<rect x="%.2f" y="%.2f" width="%.2f" height="%.2f"><title>%s: %s late of %s</title></rect>`,
			float64(i)*step, chartHeight-h, max(step-1, step/2), h, template.HTMLEscapeString(d.Day), count(d.Late), count(d.Read))
	}
	fmt.Fprintf(&b, `<text x="0" y="11">%s</text><text x="0" y="%g">%s</text><text x="%g" y="%g" text-anchor="end">%s</text></svg>`, count(most),
		chartHeight+14, template.HTMLEscapeString(r.Days[0].Day), chartWidth, chartHeight+14, template.HTMLEscapeString(r.Days[len(r.Days)-1].Day))
	return template.HTML(b.String())
}
