{{/* The pods of the StatefulSet or Deployment. */}}

{{/* A probe: (list $ PATH DEFAULTS VALUES). */}}
{{- define "scrapebroker.probe" -}}
{{- $root := index . 0 -}}
{{- $values := index . 3 -}}
{{- if ne (toString $values.enabled) "false" -}}
{{- $probe := deepCopy (index . 2) -}}
{{- if not (or $values.exec $values.tcpSocket $values.grpc) -}}
{{- $health := (default dict $root.Values.config).health_listen -}}
{{- $get := dict "path" (index . 1) "port" (ternary "health" "metrics" (not (empty $health))) -}}
{{- $_ := set $get "scheme" (ternary "HTTP" (include "scrapebroker.scheme" $root | upper) (not (empty $health))) -}}
{{- $_ := set $probe "httpGet" $get -}}
{{- end -}}
{{- mergeOverwrite $probe (omit $values "enabled") | toYaml -}}
{{- end -}}
{{- end -}}

{{- define "scrapebroker.podTemplate" -}}
{{- $ports := include "scrapebroker.ports" . | fromJson -}}
{{- $fullname := include "scrapebroker.fullname" . -}}
{{- $isPostgres := include "scrapebroker.isPostgres" . -}}
metadata:
  labels:
    {{- include "scrapebroker.podLabels" . | nindent 4 }}
  annotations:
    {{- /* A change of the configuration or of a Secret of the chart replaces the pods. */}}
    {{- $annotations := dict "kubectl.kubernetes.io/default-container" "scrapebroker" }}
    {{- range list "config" "secret" }}
    {{- $file := printf "%s/%s.yaml" $.Template.BasePath (ternary "configmap" "secret" (eq . "config")) }}
    {{- $_ := set $annotations (printf "checksum/%s" .) (include $file $ | sha256sum) }}
    {{- end }}
    {{- if .Values.prometheusAnnotations }}
    {{- $_ := set $annotations "prometheus.io/scrape" "true" }}
    {{- $_ := set $annotations "prometheus.io/port" (toString $ports.metrics) }}
    {{- $_ := set $annotations "prometheus.io/path" (include "scrapebroker.metricsPath" .) }}
    {{- $_ := set $annotations "prometheus.io/scheme" (include "scrapebroker.scheme" .) }}
    {{- end }}
    {{- merge (default dict .Values.podAnnotations | deepCopy) $annotations | toYaml | nindent 4 }}
spec:
  serviceAccountName: {{ include "scrapebroker.serviceAccountName" . | toYaml }}
  automountServiceAccountToken: {{ not (empty (include "scrapebroker.locators" . | fromJson)) }}
  # Variables of Services are not settings of Scrapebroker.
  enableServiceLinks: false
  # SIGTERM starts a drain, so no preStop hook is needed.
  terminationGracePeriodSeconds: {{ include "scrapebroker.gracePeriod" . }}
  {{- with .Values.podSecurityContext }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with include "scrapebroker.imagePullSecrets" . }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . | toYaml }}
  {{- end }}
  {{- with .Values.runtimeClassName }}
  runtimeClassName: {{ . | toYaml }}
  {{- end }}
  {{- with .Values.schedulerName }}
  schedulerName: {{ . | toYaml }}
  {{- end }}
  {{- if .Values.hostNetwork }}
  hostNetwork: true
  {{- end }}
  {{- with default (ternary "ClusterFirstWithHostNet" "" .Values.hostNetwork) .Values.dnsPolicy }}
  dnsPolicy: {{ . }}
  {{- end }}
  {{- with .Values.dnsConfig }}
  dnsConfig:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.hostAliases }}
  hostAliases:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if .Values.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- toYaml .Values.topologySpreadConstraints | nindent 4 }}
  {{- else if and .Values.spreadPods (gt (include "scrapebroker.maxPods" . | int) 1) }}
  topologySpreadConstraints:
    {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
    - topologyKey: {{ . }}
      maxSkew: 1
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "scrapebroker.selectorLabels" $ | nindent 10 }}
    {{- end }}
  {{- end }}
  {{- with .Values.initContainers }}
  initContainers:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: scrapebroker
      image: {{ include "scrapebroker.image" (list . .Values.image .Chart.AppVersion) | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args:
        - serve
        {{- with .Values.extraArgs }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      workingDir: /var/lib/scrapebroker
      env:
        # For `serve`, and for commands such as `kubectl exec … -- /usr/bin/scrapebroker backup`.
        - name: SCRAPEBROKER_CONFIG
          value: /etc/scrapebroker/config/scrapebroker.yml
        {{- with .Values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with .Values.extraEnvFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        {{- range $name, $port := $ports }}
        - name: {{ $name }}
          containerPort: {{ $port }}
          protocol: TCP
        {{- end }}
      {{- /* A migration of the database, here or in another pod, takes time. */}}
      {{- with include "scrapebroker.probe" (list . "/-/healthy" (dict "periodSeconds" 2 "timeoutSeconds" 5 "failureThreshold" 150) .Values.startupProbe) }}
      startupProbe:
        {{- . | nindent 8 }}
      {{- end }}
      {{- with include "scrapebroker.probe" (list . "/-/healthy" (dict "periodSeconds" 10 "timeoutSeconds" 5 "failureThreshold" 6) .Values.livenessProbe) }}
      livenessProbe:
        {{- . | nindent 8 }}
      {{- end }}
      {{- with include "scrapebroker.probe" (list . "/-/ready" (dict "periodSeconds" 5 "timeoutSeconds" 5 "failureThreshold" 2) .Values.readinessProbe) }}
      readinessProbe:
        {{- . | nindent 8 }}
      {{- end }}
      {{- with .Values.lifecycle }}
      lifecycle:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .Values.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .Values.securityContext }}
      securityContext:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      volumeMounts:
        - name: config
          mountPath: /etc/scrapebroker/config
          readOnly: true
        - name: data
          mountPath: /var/lib/scrapebroker
        - name: tmp
          mountPath: /tmp
        {{- if include "scrapebroker.brokerSecret" . }}
        - name: broker
          mountPath: /etc/scrapebroker/secrets/broker
          readOnly: true
        {{- end }}
        {{- if include "scrapebroker.databaseSecret" . }}
        - name: database
          mountPath: /etc/scrapebroker/secrets/database
          readOnly: true
        {{- end }}
        {{- if .Values.tls.existingSecret }}
        - name: tls
          mountPath: /etc/scrapebroker/secrets/tls
          readOnly: true
        {{- end }}
        {{- if .Values.secretFiles }}
        - name: secret-files
          mountPath: /etc/scrapebroker/secrets/files
          readOnly: true
        {{- end }}
        {{- range $index, $secret := .Values.existingSecrets }}
        - name: secret-{{ $index }}
          mountPath: /etc/scrapebroker/secrets/{{ default $secret.name $secret.path }}
          readOnly: true
        {{- end }}
        {{- with .Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    {{- with .Values.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
    - name: config
      configMap:
        name: {{ $fullname }}
    - name: tmp
      emptyDir: {}
    {{- if or $isPostgres (not .Values.persistence.enabled) }}
    - name: data
      emptyDir: {}
    {{- else if .Values.persistence.existingClaim }}
    - name: data
      persistentVolumeClaim:
        claimName: {{ .Values.persistence.existingClaim | toYaml }}
    {{- end }}
    {{- with include "scrapebroker.brokerSecret" . }}
    - name: broker
      secret:
        secretName: {{ . | toYaml }}
        defaultMode: 0440
    {{- end }}
    {{- with include "scrapebroker.databaseSecret" . }}
    - name: database
      secret:
        secretName: {{ . | toYaml }}
        defaultMode: 0440
        items:
          - key: {{ include "scrapebroker.databaseKey" $ | toYaml }}
            path: {{ include "scrapebroker.databaseKey" $ | toYaml }}
    {{- end }}
    {{- with .Values.tls.existingSecret }}
    - name: tls
      secret:
        secretName: {{ . | toYaml }}
        defaultMode: 0440
    {{- end }}
    {{- if .Values.secretFiles }}
    - name: secret-files
      secret:
        secretName: {{ $fullname }}-files
        defaultMode: 0440
    {{- end }}
    {{- range $index, $secret := .Values.existingSecrets }}
    - name: secret-{{ $index }}
      secret:
        secretName: {{ $secret.name | toYaml }}
        defaultMode: 0440
        {{- with $secret.items }}
        items:
          {{- toYaml . | nindent 10 }}
        {{- end }}
    {{- end }}
    {{- with .Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}
