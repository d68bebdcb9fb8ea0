// Package conf reads a service's configuration: one struct whose fields are flags, each
// with a TICKFAN_ environment variable of the same name, by way of kong.
//
// A service declares its own flags as Options and adds those that all services have:
//
//	type Options struct {
//		Listen string   `name:"listen" default:":8080" help:"Where clients connect."`
//		Source []string `name:"source" help:"A feed to read; may be repeated."`
//	}
//
//	type Config struct {
//		conf.Common `embed:""`
//		Options     `embed:""`
//	}
//
// The all-in-one has Common once and the Options of each service as a named field, with a
// prefix where two services have a flag of the same name:
//
//	type Config struct {
//		conf.Common `embed:""`
//		Edge   edge.Options   `embed:""`
//		Router router.Options `embed:"" prefix:"router-"` // --router-copies, TICKFAN_ROUTER_COPIES
//	}
//
// It builds each service's Config from them: edge.Config{Common: c.Common, Options: c.Edge}.
// [Parse] calls the Validate of every part by itself, so no part has to call another's, and
// reports all faults at once. A default that differs between services is a variable in the
// tag, `default:"${ops}"`, given to Parse.
package conf
