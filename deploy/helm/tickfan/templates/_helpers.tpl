{{/* What is run here: ingest only where prices are stamped. */}}
{{- define "tickfan.services" -}}
registry router edge{{ if or (not .Values.home) (eq .Values.home .Values.region) }} ingest{{ end }}
{{- end }}

{{/* These two take (list $ <service>). */}}
{{- define "tickfan.selector" -}}
app.kubernetes.io/name: tickfan
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "tickfan.metadata" -}}
name: {{ (index . 0).Release.Name }}-{{ index . 1 }}
labels:
  {{- include "tickfan.selector" . | nindent 2 }}
  app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
  app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
{{- end }}

{{/* Arguments of a service, one a line: what the values say, then its flags. */}}
{{- define "tickfan.args" -}}
{{- $ := index . 0 }}{{ $name := index . 1 }}{{ $s := index $.Values $name -}}
- "--region={{ $.Values.region }}"
{{- with $.Values.home }}
- "--home={{ . }}"
{{- end }}
- "--log-level={{ $.Values.log.level }}"
- "--log-format={{ $.Values.log.format }}"
{{- if has $name (list "ingest" "registry") }}
- "--replicas={{ $.Values.nats.replicas }}"
{{- end }}
{{- if eq $name "edge" }}
- "--advertise={{ $s.advertise }}"
- "--drain-timeout={{ $s.drainSeconds }}s"
{{- if $s.tlsSecret }}
- "--tls-cert=/tls/tls.crt"
- "--tls-key=/tls/tls.key"
{{- end }}
{{- end }}
{{- range $flag, $value := $s.flags }}
{{- if kindIs "slice" $value }}{{ $value = join "," $value }}{{ end }}
{{- if kindIs "float64" $value }}{{ $value = toJson $value }}{{ end }}
- {{ printf "--%s=%v" $flag $value | quote }}
{{- end }}
{{- end }}
