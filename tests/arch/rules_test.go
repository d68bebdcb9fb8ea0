package arch

import (
	"os"
	"testing"
)

// rule is something that holds everywhere; check gives a line for each place where it does not.
type rule struct {
	name  string
	check func(*tree) []string
}

// rules gives them all.
func rules() []rule {
	return []rule{
		{"ProtoImportsLittle", protoImportsLittle},
		{"SDKImportsLittle", sdkImportsLittle},
		{"LibsKnowNoService", libsKnowNoService},
		{"ServicesKnowNoOther", servicesKnowNoOther},
		{"NothingKnowsTheTests", nothingKnowsTheTests},
		{"NoDotImports", noDotImports},
		{"DevOnlyRuns", devOnlyRuns},
		{"OnlyBusDials", onlyBusDials},
		{"OnlyNatsdHasTheServer", onlyNatsdHasTheServer},
		{"OnlyEdgeUpgrades", onlyEdgeUpgrades},
		{"OneWriterPerStore", oneWriterPerStore},
		{"PackagesAreDescribed", packagesAreDescribed},
		{"PackagesAreNamed", packagesAreNamed},
		{"FilesAreShort", filesAreShort},
		{"NoInit", noInit},
		{"NoPackageState", noPackageState},
		{"PricesAreNoFloats", pricesAreNoFloats},
		{"OnlyMainExits", onlyMainExits},
		{"TestsDoNotSleep", testsDoNotSleep},
		{"LeaksAreFound", leaksAreFound},
		{"ModulesAgree", modulesAgree},
	}
}

// repository gives the one that this test stands in.
func repository(t *testing.T) *tree {
	t.Helper()
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	// Uncleaned on purpose: go test looks again only at files whose names begin with the module's folder, and would
	// otherwise give a cached "ok" after a change elsewhere.
	all, err := load(os.DirFS(wd + "/../.."))
	if err != nil {
		t.Fatal(err)
	}
	if len(all.files) < 100 || len(all.mods) < 5 {
		t.Fatalf("%d Go files and %d module files: this is not the repository", len(all.files), len(all.mods))
	}
	return all
}

func TestRepository(t *testing.T) {
	all := repository(t)
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) {
			for _, fault := range r.check(all) {
				t.Error(fault)
			}
		})
	}
}
