{{/* Mistakes that the API server or the program would find later, as JSON. */}}

{{/* Mistakes about objects of Kubernetes: ports, names of files, and fields that the chart sets. */}}
{{- define "scrapebroker.objectMistakes" -}}
{{- $mistakes := list -}}
{{- $ports := include "scrapebroker.ports" . | fromJson -}}
{{- $keys := dict "metrics" "service.port" "query" "service.queryPort" "events" "service.eventsPort" -}}
{{- $used := dict -}}
{{- range list "metrics" "query" "events" -}}
{{- $key := get $keys . -}}
{{- $number := get $.Values.service (trimPrefix "service." $key) | toString -}}
{{- if hasKey $ports . -}}
{{- if hasKey $used $number -}}
{{- $mistakes = append $mistakes (printf "%s: %s is the port of %s, too; set another one" $key $number (get $used $number)) -}}
{{- end -}}
{{- $_ := set $used $number $key -}}
{{- end -}}
{{- end -}}
{{- $listeners := dict -}}
{{- range $name, $port := $ports -}}
{{- $key := ternary "config.health_listen" (printf "config.%s.listen" $name) (eq $name "health") -}}
{{- if hasPrefix "metrics" $name -}}{{- $key = "config.listen" -}}{{- end -}}
{{- $number := toString $port -}}
{{- if hasKey $listeners $number -}}
{{- $mistakes = append $mistakes (printf "%s: %s is the port of %s, too; set another one" $key $number (get $listeners $number)) -}}
{{- end -}}
{{- $_ := set $listeners $number $key -}}
{{- end -}}
{{- if and .Values.service.nodePort (eq .Values.service.type "ClusterIP") -}}
{{- $mistakes = append $mistakes "service.nodePort: requires the type NodePort or LoadBalancer in service.type" -}}
{{- end -}}
{{- range $field, $instead := dict "type" "use service.type" "ports" "use service.port, service.queryPort and service.eventsPort" "selector" "it selects the pods" -}}
{{- if hasKey (default dict $.Values.service.spec) $field -}}
{{- $mistakes = append $mistakes (printf "service.spec: the chart sets %s; %s" $field $instead) -}}
{{- end -}}
{{- end -}}
{{- range list "checksum/config" "checksum/secret" -}}
{{- if hasKey (default dict $.Values.podAnnotations) . -}}
{{- $mistakes = append $mistakes (printf "podAnnotations: the chart sets %s, so that changes replace the pods; use another name" .) -}}
{{- end -}}
{{- end -}}
{{- $paths := list "broker" "database" "tls" "files" -}}
{{- range .Values.existingSecrets -}}
{{- $path := default .name .path -}}
{{- if has $path $paths -}}
{{- $mistakes = append $mistakes (printf "existingSecrets: the path %s is used %s; set another path" $path (ternary "by the chart" "twice" (has $path (list "broker" "database" "tls" "files")))) -}}
{{- end -}}
{{- $paths = append $paths $path -}}
{{- end -}}
{{- if hasKey (default dict .Values.files) "scrapebroker.yml" -}}
{{- $mistakes = append $mistakes "files: scrapebroker.yml is the configuration; use config" -}}
{{- end -}}
{{- with (default dict .Values.updateStrategy).type -}}
{{- $types := ternary (list "RollingUpdate" "Recreate") (list "RollingUpdate" "OnDelete") (not (empty (include "scrapebroker.isPostgres" $))) -}}
{{- if not (has . $types) -}}
{{- $mistakes = append $mistakes (printf "updateStrategy.type: set %s with database.type %s" (join " or " $types) $.Values.database.type) -}}
{{- end -}}
{{- end -}}
{{- with .Values.podDisruptionBudget -}}
{{- if and .enabled (kindIs "invalid" .minAvailable) (kindIs "invalid" .maxUnavailable) -}}
{{- $mistakes = append $mistakes "podDisruptionBudget.maxUnavailable: set this or minAvailable, or enabled to false" -}}
{{- end -}}
{{- end -}}
{{- with (default dict .Values.config).base_url -}}
{{- if not (regexMatch "^https?://[^/?#@\\s]+(/[^?#\\s]*)?$" .) -}}
{{- $mistakes = append $mistakes "config.base_url: must be a URL like https://metrics.example.com" -}}
{{- end -}}
{{- end -}}
{{- toJson $mistakes -}}
{{- end -}}

{{/* Mistakes about rules and dashboards, and values that only a parent chart uses. */}}
{{- define "scrapebroker.monitoringMistakes" -}}
{{- $mistakes := list -}}
{{- if eq (toString .Values.enabled) "false" -}}
{{- $mistakes = append $mistakes "enabled: the chart does not use this; a parent chart names it in the condition of its dependency" -}}
{{- end -}}
{{- if or .Values.prometheusRule.enabled .Values.dashboards.enabled -}}
{{- $namespace := default "scrapebroker" (default dict (default dict .Values.config).telemetry).namespace -}}
{{- $others := list -}}
{{- if ne $namespace "scrapebroker" -}}{{- $others = append $others "config.telemetry.namespace" -}}{{- end -}}
{{- range .Values.extraEnv -}}
{{- if and (eq .name "SCRAPEBROKER__TELEMETRY__NAMESPACE") (ne (default "" .value) "scrapebroker") -}}{{- $others = append $others "extraEnv" -}}{{- end -}}
{{- end -}}
{{- range .Values.extraArgs -}}
{{- if hasPrefix "--metric.namespace" . -}}{{- $others = append $others "extraArgs" -}}{{- end -}}
{{- end -}}
{{- range $others -}}
{{- $mistakes = append $mistakes (printf "%s: with another namespace, no rule and no dashboard finds a metric; keep scrapebroker, or disable prometheusRule and dashboards" .) -}}
{{- end -}}
{{- end -}}
{{- if .Values.prometheusRule.disabledAlerts -}}
{{- $alerts := list -}}
{{- range $path, $_ := .Files.Glob "monitoring/rules/*.yml" -}}
{{- range ($.Files.Get $path | fromYaml).groups -}}
{{- range .rules -}}
{{- with .alert -}}{{- $alerts = append $alerts . -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range .Values.prometheusRule.disabledAlerts -}}
{{- if not (has . $alerts) -}}
{{- $mistakes = append $mistakes (printf "prometheusRule.disabledAlerts: there is no alert %s; the alerts are %s" . (sortAlpha $alerts | join ", ")) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $mistakes -}}
{{- end -}}
