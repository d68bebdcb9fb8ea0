// Package observe tests what an operator looks at: every query of the dashboards in deploy/grafana and of the alerts in
// deploy/prometheus/rules.yml asks for metrics and labels that running services tell, every panel says what is normal, every
// alert has its section in docs/RUNBOOK.md and has been seen firing and not firing.
//
// The last is rules_test.yml, which promtool runs: `make observe`.
package observe
