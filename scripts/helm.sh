#!/usr/bin/env bash
# Checks the charts in deploy/helm: lint, what they render for each set of values by Kubernetes' own schemas, and the flags in it by
# the services themselves. Builds helm and kubeconform into bin/tools, some minutes the first time; all comes from the Go module
# proxy.
set -euo pipefail
cd "$(dirname "$0")/.."

kubernetes=1.36.3
operator=0.85.0 # Prometheus's
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# tool <module>@<version> <package> gives the folder of the command.
tool() {
	local dir=$PWD/bin/tools/${2##*/}-${1#*@}
	[[ -d $dir ]] || GOBIN=$dir GOWORK=off go install -trimpath "${1%@*}/$2@${1#*@}" >&2
	echo "$dir"
}

# module <module>@<version> gives the folder of its source.
module() {
	(cd "$work" && GOWORK=off go mod download -json "$1") | sed -n 's/^\t"Dir": "\(.*\)",\?$/\1/p'
}

PATH=$(tool helm.sh/helm/v3@v3.22.0 cmd/helm):$(tool github.com/yannh/kubeconform@v0.8.0 cmd/kubeconform):$PATH

# schema <kind-group-version> <file> <pointer> <definition> makes the schema of a kind, in which no field but the known ones may be.
mkdir "$work/schemas" "$work/rendered"
schema() {
	local file=$work/schemas/_${2##*/}
	[[ -f $file ]] || sed 's/"properties": {/"additionalProperties": false, &/' "$2" >"$file"
	printf '{"$ref": "%s#%s"}\n' "${file##*/}" "$3" >"$work/schemas/$1.json"
}
api=$(module k8s.io/kubernetes@v$kubernetes)/api/openapi-spec/v3
monitors=$(module github.com/prometheus-operator/prometheus-operator@v$operator)/jsonnet/prometheus-operator
at=/components/schemas/io.k8s.api
schema deployment-apps-v1 "$api/apis__apps__v1_openapi.json" $at.apps.v1.Deployment
schema service-v1 "$api/api__v1_openapi.json" $at.core.v1.Service
schema configmap-v1 "$api/api__v1_openapi.json" $at.core.v1.ConfigMap
schema serviceaccount-v1 "$api/api__v1_openapi.json" $at.core.v1.ServiceAccount
schema poddisruptionbudget-policy-v1 "$api/apis__policy__v1_openapi.json" $at.policy.v1.PodDisruptionBudget
schema horizontalpodautoscaler-autoscaling-v2 "$api/apis__autoscaling__v2_openapi.json" $at.autoscaling.v2.HorizontalPodAutoscaler
schema networkpolicy-networking-v1 "$api/apis__networking.k8s.io__v1_openapi.json" $at.networking.v1.NetworkPolicy
schema podmonitor-monitoring-v1 "$monitors/podmonitors-crd.json" /spec/versions/0/schema/openAPIV3Schema
schema prometheusrule-monitoring-v1 "$monitors/prometheusrules-crd.json" /spec/versions/0/schema/openAPIV3Schema

cp -rL deploy/helm/tickfan "$work/" # with what its links lead to, about each of which helm has a word
for values in deploy/helm/values/*.yaml; do
	echo "$values"
	helm lint --strict --quiet --kube-version $kubernetes --values "$values" "$work/tickfan"
	helm template tickfan "$work/tickfan" --kube-version $kubernetes --values "$values" >"$work/rendered/$(basename "$values")"
done

echo "deploy/helm/tickfan-with-nats" # NATS's chart, which is not here, is one without content
cp -r deploy/helm/tickfan-with-nats "$work/whole"
mkdir -p "$work/whole/charts/nats"
cp -r "$work/tickfan" "$work/whole/charts/"
printf 'apiVersion: v2\nname: nats\nversion: 2.15.2\n' >"$work/whole/charts/nats/Chart.yaml"
helm lint --strict --quiet --kube-version $kubernetes "$work/whole"
helm template tickfan "$work/whole" --kube-version $kubernetes >"$work/rendered/with-nats.yaml"

echo "kubeconform"
kubeconform -strict -summary -schema-location "$work/schemas/{{ .ResourceKind }}{{ .KindSuffix }}.json" "$work/rendered"

echo "the services' flags"
go test -count=1 -tags helm ./tests/helm -args -rendered "$work/rendered"
