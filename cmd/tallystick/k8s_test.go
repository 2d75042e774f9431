package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

type k8sJob struct {
	Kind     string
	Metadata struct{ Name string }
	Spec     struct {
		CompletionMode           string `yaml:"completionMode"`
		Completions, Parallelism int
		Template                 struct {
			Spec struct {
				Containers []struct {
					Image        string
					Args         []string
					VolumeMounts []struct {
						Name, MountPath string
						ReadOnly        bool `yaml:"readOnly"`
					} `yaml:"volumeMounts"`
				}
				Volumes []map[string]any
			}
		}
	}
}

// The Jobs of examples/k8s: each command line is one of ours, all are of one
// definition, plan and root, and the Indexed Job runs every share once.
func TestKubernetesJobs(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(repository, "examples/k8s/replay.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var steps []string
	same := map[string]string{}
	for d := yaml.NewDecoder(bytes.NewReader(b)); ; {
		var j k8sJob
		if err := d.Decode(&j); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if j.Kind != "Job" {
			continue
		}
		c := j.Spec.Template.Spec.Containers[0]
		cmd := parsed(t, c.Args)
		steps = append(steps, named(cmd))
		for _, name := range []string{"file", "brokers", "out"} {
			v := cmd.Flag(name).Value.String()
			if same[name] == "" {
				same[name] = v
			}
			if v != same[name] || c.Image != ours {
				t.Errorf("%s: --%s %s, image %s", j.Metadata.Name, name, v, c.Image)
			}
		}
		plan := cmd.Flag("plan")
		if plan == nil {
			plan = cmd.Flag("output")
		}
		if plan.Value.String() != "/plan/plan.json" {
			t.Errorf("%s: the plan is %s", j.Metadata.Name, plan.Value)
		}
		for _, m := range c.VolumeMounts {
			if m.Name == "plan" && m.ReadOnly != (named(cmd) != "replay plan") {
				t.Errorf("%s: mounts the plan read-only: %v", j.Metadata.Name, m.ReadOnly)
			}
		}
		if named(cmd) == "replay run" {
			if want := "$(JOB_COMPLETION_INDEX)/" + strconv.Itoa(j.Spec.Completions); cmd.Flag("unit").Value.String() != want || j.Spec.CompletionMode != "Indexed" || j.Spec.Parallelism != j.Spec.Completions {
				t.Errorf("%s: --unit %s, want %s", j.Metadata.Name, cmd.Flag("unit").Value, want)
			}
		}
	}
	if got := strings.Join(steps, ", "); got != "replay plan, replay run, replay publish" {
		t.Errorf("steps: %s", got)
	}
}
