package registry

import (
	"runtime/debug"
	"testing"
)

func TestVersion(t *testing.T) {
	commit := []debug.BuildSetting{{Key: "vcs", Value: "git"}, {Key: "vcs.revision", Value: "0123456789abcdef0123456789abcdef01234567"}}
	for _, c := range []struct {
		info *debug.BuildInfo
		want string
	}{
		{nil, "0.0.0-unknown"},
		{&debug.BuildInfo{Main: debug.Module{Version: "v1.2.3-rc.1"}, Settings: commit}, "1.2.3-rc.1"},
		{&debug.BuildInfo{Main: debug.Module{Version: "(devel)"}, Settings: commit}, "0.0.0-g0123456789ab"},
		{&debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, "0.0.0-devel"},
	} {
		if got := version(c.info, c.info != nil); got != c.want {
			t.Errorf("version of %+v is %s, want %s", c.info, got, c.want)
		}
	}
}
