{{/* What the objects of the Prometheus Operator have in common. */}}

{{/* Labels: (list $ ADDITIONAL). */}}
{{- define "scrapebroker.monitorLabels" -}}
{{- merge (include "scrapebroker.labels" (index . 0) | fromYaml) (index . 1) | toYaml -}}
{{- end -}}

{{/* The path of the own metrics. */}}
{{- define "scrapebroker.metricsPath" -}}
{{- default "/metrics" (default dict (default dict .Values.config).telemetry).path -}}
{{- end -}}

{{/*
TLS settings of requests to the Service or to the pods: (list $ SCHEME VALUES). Their names are not in the certificate, so the host of
`base_url` is expected in it, unless the values contain another name.
*/}}
{{- define "scrapebroker.tlsConfig" -}}
{{- $root := index . 0 -}}
{{- $tls := default dict (index . 2) -}}
{{- if eq (index . 1) "https" -}}
{{- $tls = merge (dict) $tls (dict "serverName" (include "scrapebroker.baseUrl" $root | urlParse).hostname) -}}
{{- end -}}
{{- with $tls -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{/*
The job of the own metrics, as the operator sets it: the label `jobLabel` of the Service or the pod. Without that label it is the name of
the Service, or that of the PodMonitor after its namespace. If there is no monitor, the job is that of the rules.
*/}}
{{- define "scrapebroker.job" -}}
{{- $monitor := .Values.serviceMonitor -}}
{{- $label := default "" $monitor.jobLabel -}}
{{- if $monitor.enabled -}}
{{- $labels := merge (include "scrapebroker.labels" . | fromYaml) (default dict .Values.service.labels) -}}
{{- default (include "scrapebroker.fullname" .) (get $labels $label) -}}
{{- else if .Values.podMonitor.enabled -}}
{{- $name := printf "%s/%s" (default .Release.Namespace $monitor.namespace) (include "scrapebroker.nameIn" (list . $monitor.namespace)) -}}
{{- default $name (get (include "scrapebroker.podLabels" . | fromYaml) $label) -}}
{{- else -}}
scrapebroker
{{- end -}}
{{- end -}}

{{/* The endpoints of a ServiceMonitor or PodMonitor. */}}
{{- define "scrapebroker.endpoints" -}}
{{- $monitor := .Values.serviceMonitor -}}
{{- $scheme := default (include "scrapebroker.scheme" .) $monitor.scheme -}}
{{- $tls := include "scrapebroker.tlsConfig" (list . $scheme $monitor.tlsConfig) -}}
- port: metrics
  path: {{ default (include "scrapebroker.metricsPath" .) $monitor.path }}
  scheme: {{ $scheme }}
  {{- with $monitor.interval }}
  interval: {{ . }}
  {{- end }}
  {{- with $monitor.scrapeTimeout }}
  scrapeTimeout: {{ . }}
  {{- end }}
  honorLabels: {{ $monitor.honorLabels }}
  honorTimestamps: {{ $monitor.honorTimestamps }}
  trackTimestampsStaleness: {{ $monitor.trackTimestampsStaleness }}
  {{- with $monitor.params }}
  params:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $tls }}
  tlsConfig:
    {{- . | nindent 4 }}
  {{- end }}
  {{- with $monitor.basicAuth }}
  basicAuth:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $monitor.authorization }}
  authorization:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $monitor.relabelings }}
  relabelings:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $monitor.metricRelabelings }}
  metricRelabelings:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- with $monitor.events }}
{{- if .enabled }}
- port: events
  path: /metrics
  scheme: {{ $scheme }}
  {{- with default $monitor.interval .interval }}
  interval: {{ . }}
  {{- end }}
  {{- with default $monitor.scrapeTimeout .scrapeTimeout }}
  scrapeTimeout: {{ . }}
  {{- end }}
  # All pods have the same events, so the target is the Service. Prometheus merges targets with equal addresses and labels.
  relabelings:
    - targetLabel: __address__
      replacement: {{ include "scrapebroker.fullname" $ }}.{{ $.Release.Namespace }}.svc:{{ $.Values.service.eventsPort }}
    - targetLabel: instance
      replacement: {{ include "scrapebroker.fullname" $ }}.{{ $.Release.Namespace }}.svc:{{ $.Values.service.eventsPort }}
    - action: labeldrop
      regex: pod|node|container
  # Events keep their own labels `job` and `instance`, and their timestamps.
  honorLabels: true
  honorTimestamps: true
  trackTimestampsStaleness: true
  {{- with .params }}
  params:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $tls }}
  tlsConfig:
    {{- . | nindent 4 }}
  {{- end }}
  {{- with .basicAuth }}
  basicAuth:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .authorization }}
  authorization:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .metricRelabelings }}
  metricRelabelings:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}
{{- end -}}
