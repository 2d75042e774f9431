//go:build real

package real

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// O1: a user of Redis who may not do one thing that the stream does is refused in
// one sentence, with nothing written; one who may do what docs/operations.md lists
// goes on.
func TestRedisRights(t *testing.T) {
	x := newRig(t, setup{fault: "a user of Redis without one of the rights that docs/operations.md lists"})
	x.produce(400)
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	x.must(err)
	listed := regexp.MustCompile("In Redis, `([^`]*)`").FindSubmatch(page)
	if listed == nil {
		t.Fatal("docs/operations.md lists no rights")
	}
	admin := x.node(x.redis.Nodes()[0])
	password, refusals := filepath.Join(x.dir, "password"), 0
	x.must(os.WriteFile(password, []byte("secret\n"), 0o600))
	as := func(without string) []string {
		args := []any{"acl", "setuser", "tally", "reset", "on", ">secret", "~*"}
		for _, right := range strings.Fields(string(listed[1])) {
			if right != "+"+without {
				args = append(args, right)
			}
		}
		x.must(admin.Do(x.ctx, args...).Err())
		return x.stream("--until", "end", "--redis-username", "tally", "--redis-password-file", password)
	}
	for _, without := range []string{"hmget", "hset", "hdel", "hkeys", "hgetall", "sadd", "smembers", "watch", "multi", "set"} {
		args := as(without)
		if r := x.run(args...); r.code != 1 || !strings.Contains(r.errout, fmt.Sprintf("'%s' command", without)) || !strings.Contains(r.errout, "docs/operations.md") {
			t.Errorf("without %s it ends with %d and says\n%s", without, r.code, r.errout)
		} else {
			refusals++
		}
		keys, err := admin.DBSize(x.ctx).Result()
		x.must(err)
		if keys != 0 {
			t.Fatalf("refused without %s, %d keys are written", without, keys)
		}
	}
	x.evidence("users refused", int64(refusals))
	x.ok(as("nothing")...)
	if x.folded() == 0 {
		t.Error("with all rights nothing is written")
	}
}
