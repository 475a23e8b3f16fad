{{/* The configuration, and what follows from it. */}}

{{/* Whether the pods store nothing, so that there may be several. */}}
{{- define "scrapebroker.isPostgres" -}}
{{- if eq .Values.database.type "postgresql" -}}true{{- end -}}
{{- end -}}

{{/* The number of pods, at most. */}}
{{- define "scrapebroker.maxPods" -}}
{{- if .Values.autoscaling.enabled -}}{{- .Values.autoscaling.maxReplicas -}}{{- else -}}{{- .Values.replicaCount -}}{{- end -}}
{{- end -}}

{{/* The name of the Secret with the broker's credentials, if there is one. */}}
{{- define "scrapebroker.brokerSecret" -}}
{{- $broker := .Values.broker -}}
{{- if $broker.existingSecret -}}
{{- $broker.existingSecret -}}
{{- else if or $broker.username $broker.password $broker.tokenKey -}}
{{- include "scrapebroker.fullname" . }}-broker
{{- end -}}
{{- end -}}

{{/* The keys of that Secret, as JSON: the key of the configuration, and the key of the Secret. */}}
{{- define "scrapebroker.brokerKeys" -}}
{{- $broker := .Values.broker -}}
{{- $keys := dict -}}
{{- range $name, $key := dict "username" "username" "password" "password" "tokenKey" "token_key" -}}
{{- if $broker.existingSecret -}}
{{- with get $broker.existingSecretKeys $name -}}{{- $_ := set $keys $key . -}}{{- end -}}
{{- else if get $broker $name -}}
{{- $_ := set $keys $key (kebabcase $name) -}}
{{- end -}}
{{- end -}}
{{- toJson $keys -}}
{{- end -}}

{{/* The name of the Secret with the URL of the database, if there is one. */}}
{{- define "scrapebroker.databaseSecret" -}}
{{- if include "scrapebroker.isPostgres" . -}}
{{- with .Values.database -}}
{{- if .existingSecret -}}
{{- .existingSecret -}}
{{- else if .url -}}
{{- include "scrapebroker.fullname" $ }}-database
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The key with that URL. */}}
{{- define "scrapebroker.databaseKey" -}}
{{- with .Values.database -}}
{{- if .existingSecret -}}{{- .existingSecretKey -}}{{- else -}}url{{- end -}}
{{- end -}}
{{- end -}}

{{/* The URL under which users reach the main listener. */}}
{{- define "scrapebroker.baseUrl" -}}
{{- $config := default dict .Values.config -}}
{{- $host := "" -}}
{{- $scheme := "https" -}}
{{- if .Values.ingress.enabled -}}
{{- range .Values.ingress.hosts -}}
{{- $entry := . -}}
{{- range default (list dict) .paths -}}
{{- if and (eq (default "metrics" .port) "metrics") (not $host) -}}{{- $host = $entry.host -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- if not .Values.ingress.tls -}}{{- $scheme = "http" -}}{{- end -}}
{{- else if .Values.httpRoute.enabled -}}
{{- $host = default "" (first .Values.httpRoute.hostnames) -}}
{{- end -}}
{{- if $config.base_url -}}
{{- $config.base_url -}}
{{- else if and $host (not (contains "*" $host)) -}}
{{- printf "%s://%s" $scheme $host -}}
{{- else -}}
{{- include "scrapebroker.serviceUrl" . -}}
{{- end -}}
{{- end -}}

{{/* The scheme of the listeners: `https` if they have a certificate. */}}
{{- define "scrapebroker.scheme" -}}
{{- $tls := default dict (default dict .Values.config).tls -}}
{{- if .Values.service.scheme -}}
{{- .Values.service.scheme -}}
{{- else if or .Values.tls.existingSecret $tls.cert $tls.cert_file -}}https{{- else -}}http{{- end -}}
{{- end -}}

{{/* Whether the listeners have the settings of a web configuration file, which the chart does not read. */}}
{{- define "scrapebroker.hasWebConfig" -}}
{{- if or (default dict .Values.config).web_config_file (regexMatch "(^|\n)--web[.]config[.]file" (join "\n" .Values.extraArgs)) -}}true{{- end -}}
{{- end -}}

{{/* Whether the listeners require a certificate of the client, except `health_listen`. */}}
{{- define "scrapebroker.clientCertificates" -}}
{{- $tls := default dict (default dict .Values.config).tls -}}
{{- if or .Values.tls.clientCertificates $tls.client_ca $tls.client_ca_file -}}true{{- end -}}
{{- end -}}

{{/* Names of the ports that clients outside of the cluster reach, as JSON: by an Ingress, an HTTPRoute, or the type of the Service. */}}
{{- define "scrapebroker.exposedPorts" -}}
{{- $service := .Values.service -}}
{{- $ports := list -}}
{{- if ne $service.type "ClusterIP" -}}
{{- $ports = list "metrics" "query" "events" -}}
{{- end -}}
{{- if .Values.ingress.enabled -}}
{{- range .Values.ingress.hosts -}}
{{- range default (list dict) .paths -}}{{- $ports = append $ports (default "metrics" .port) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- if .Values.httpRoute.enabled -}}
{{- range $routed := include "scrapebroker.routedPorts" . | fromJsonArray -}}
{{- range $name, $port := dict "metrics" $service.port "query" $service.queryPort "events" $service.eventsPort -}}
{{- if eq (int $port) (int $routed) -}}{{- $ports = append $ports $name -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $ports | uniq | toJson -}}
{{- end -}}

{{/* Ports of the Service to which the HTTPRoute sends requests, as JSON. */}}
{{- define "scrapebroker.routedPorts" -}}
{{- $ports := list -}}
{{- range .Values.httpRoute.rules -}}
{{- range .backendRefs -}}
{{- if eq (toString .name) (include "scrapebroker.fullname" $) -}}{{- $ports = append $ports (int .port) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- if .Values.httpRoute.rules -}}{{- $ports | uniq | toJson -}}{{- else -}}{{- list .Values.service.port | toJson -}}{{- end -}}
{{- end -}}

{{/* The configuration that the pods get: the values below `config`, and the files of Secrets. */}}
{{- define "scrapebroker.config" -}}
{{- $config := deepCopy (default dict .Values.config) -}}
{{- $_ := set $config "base_url" (include "scrapebroker.baseUrl" .) -}}
{{- if include "scrapebroker.isPostgres" . -}}
{{- if include "scrapebroker.databaseSecret" . -}}
{{- $_ := set $config "database_url_file" (printf "/etc/scrapebroker/secrets/database/%s" (include "scrapebroker.databaseKey" .)) -}}
{{- end -}}
{{- else -}}
{{- if not (or $config.database_url $config.database_url_file) -}}
{{- $_ := set $config "database_url" "sqlite:///var/lib/scrapebroker/scrapebroker.db" -}}
{{- end -}}
{{- if not (hasKey $config "store_is_durable") -}}
{{- $_ := set $config "store_is_durable" .Values.persistence.enabled -}}
{{- end -}}
{{- end -}}
{{- with include "scrapebroker.brokerKeys" . | fromJson -}}
{{- $broker := default dict $config.broker -}}
{{- range $key, $file := . -}}
{{- $_ := set $broker (printf "%s_file" $key) (printf "/etc/scrapebroker/secrets/broker/%s" $file) -}}
{{- end -}}
{{- $_ := set $config "broker" $broker -}}
{{- end -}}
{{- if .Values.tls.existingSecret -}}
{{- $tls := default dict $config.tls -}}
{{- $_ := set $tls "cert_file" "/etc/scrapebroker/secrets/tls/tls.crt" -}}
{{- $_ := set $tls "key_file" "/etc/scrapebroker/secrets/tls/tls.key" -}}
{{- if .Values.tls.clientCertificates -}}
{{- $_ := set $tls "client_ca_file" "/etc/scrapebroker/secrets/tls/ca.crt" -}}
{{- end -}}
{{- $_ := set $config "tls" $tls -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* The addresses of `listen`: a text, several with commas, or a list. As JSON. */}}
{{- define "scrapebroker.addresses" -}}
{{- $listen := default "0.0.0.0:8085" (default dict .Values.config).listen -}}
{{- if kindIs "string" $listen -}}{{- $listen = splitList "," (nospace $listen) -}}{{- end -}}
{{- toJson $listen -}}
{{- end -}}

{{/*
The ports of the listeners, as JSON: `metrics`, and those that are configured of `health`, `query` and `events`. Further addresses of
`listen` are `metrics-2` and so on.
*/}}
{{- define "scrapebroker.ports" -}}
{{- $config := default dict .Values.config -}}
{{- $addresses := dict "health" (list "health_listen" $config.health_listen) -}}
{{- $_ := set $addresses "query" (list "query.listen" (default dict $config.query).listen) -}}
{{- $_ := set $addresses "events" (list "events.listen" (default dict $config.events).listen) -}}
{{- range $index, $address := include "scrapebroker.addresses" . | fromJsonArray -}}
{{- $_ := set $addresses (ternary "metrics" (printf "metrics-%d" (add1 $index)) (eq $index 0)) (list "listen" $address) -}}
{{- end -}}
{{- $ports := dict -}}
{{- $main := list -}}
{{- range $name, $address := $addresses -}}
{{- with index $address 1 -}}
{{- $port := regexFind ":[0-9]+$" . | trimPrefix ":" | int -}}
{{- if or (lt $port 1) (gt $port 65535) -}}
{{- fail (printf "config.%s: %s has no port; write it like 0.0.0.0:8085" (index $address 0) .) -}}
{{- end -}}
{{- /* Two addresses of `listen`, one for IPv4 and one for IPv6, may have one port. */ -}}
{{- if not (and (hasPrefix "metrics" $name) (has $port $main)) -}}
{{- $_ := set $ports $name $port -}}
{{- end -}}
{{- if hasPrefix "metrics" $name -}}{{- $main = append $main $port -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $ports -}}
{{- end -}}

{{/* Milliseconds of a duration of the configuration: (list "KEY" "1h30m"). */}}
{{- define "scrapebroker.milliseconds" -}}
{{- $text := index . 1 | toString -}}
{{- if not (regexMatch "^([0-9]+(ms|s|m|h))+$" $text) -}}
{{- fail (printf "config.%s: %s is not a duration; write it like 30s, 500ms or 1h30m" (index . 0) $text) -}}
{{- end -}}
{{- $units := dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000 -}}
{{- $sum := 0 -}}
{{- range regexFindAll "[0-9]+(ms|s|m|h)" $text -1 -}}
{{- $sum = add $sum (mul (regexFind "[0-9]+" . | int64) (get $units (regexFind "[a-z]+" .))) -}}
{{- end -}}
{{- $sum -}}
{{- end -}}

{{/* Bytes of a size of the configuration or of Kubernetes, such as 256MiB or 512Mi. Empty if it is none. */}}
{{- define "scrapebroker.bytes" -}}
{{- $units := dict "" 1 "k" 1000 "m" 1000000 "g" 1000000000 "t" 1000000000000 "ki" 1024 "mi" 1048576 "gi" 1073741824 "ti" 1099511627776 -}}
{{- $text := toString . | lower | trimSuffix "b" | nospace -}}
{{- $unit := regexFind "[a-z]*$" $text -}}
{{- if and (regexMatch "^[0-9]+([.][0-9]+)?[a-z]*$" $text) (hasKey $units $unit) -}}
{{- mulf (regexFind "^[0-9.]+" $text | float64) (get $units $unit) | int64 -}}
{{- end -}}
{{- end -}}

{{/*
The time that a stop may take: new connections are accepted for `drain_wait`, then requests end within `shutdown_grace`. Ten seconds
remain for the end of child processes. The defaults are those of the program; a test compares them.
*/}}
{{- define "scrapebroker.gracePeriod" -}}
{{- if kindIs "invalid" .Values.terminationGracePeriodSeconds -}}
{{- $config := default dict .Values.config -}}
{{- $wait := include "scrapebroker.milliseconds" (list "drain_wait" (default "5s" $config.drain_wait)) -}}
{{- $grace := include "scrapebroker.milliseconds" (list "shutdown_grace" (default "15s" $config.shutdown_grace)) -}}
{{- add (div (add ($wait | int64) ($grace | int64) 999) 1000) 10 -}}
{{- else -}}
{{- .Values.terminationGracePeriodSeconds -}}
{{- end -}}
{{- end -}}

{{/*
What the locators `kubernetes` of query pools read with the pod's ServiceAccount, as JSON: for each namespace the names of services,
and whether pods are listed.
*/}}
{{- define "scrapebroker.locators" -}}
{{- $found := dict -}}
{{- range (default dict (default dict .Values.config).query).pools -}}
{{- range .locators -}}
{{- with .kubernetes -}}
{{- if not .kubeconfig -}}
{{- $namespace := default "default" .namespace -}}
{{- $entry := default (dict "services" list "pods" false) (get $found $namespace) -}}
{{- if .service -}}
{{- $_ := set $entry "services" (append $entry.services .service | uniq | sortAlpha) -}}
{{- end -}}
{{- if .pod_selector -}}
{{- $_ := set $entry "pods" true -}}
{{- end -}}
{{- $_ := set $found $namespace $entry -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}

{{/* Fails with all mistakes in the values that the schema cannot find. */}}
{{- define "scrapebroker.validate" -}}
{{- $config := default dict .Values.config -}}
{{- $mistakes := list -}}
{{- range list "secretMistakes" "variableMistakes" "objectMistakes" "monitoringMistakes" -}}
{{- $mistakes = include (printf "scrapebroker.%s" .) $ | fromJsonArray | concat $mistakes -}}
{{- end -}}
{{- $postgres := include "scrapebroker.isPostgres" . -}}
{{- $replicas := int .Values.replicaCount -}}
{{- with .Values.autoscaling -}}
{{- if .enabled -}}
{{- if not $postgres -}}
{{- $mistakes = append $mistakes "autoscaling.enabled: several pods cannot share one SQLite database; set database.type to postgresql" -}}
{{- end -}}
{{- if gt (int .minReplicas) (int .maxReplicas) -}}
{{- $mistakes = append $mistakes (printf "autoscaling.minReplicas: %d is more than autoscaling.maxReplicas" (int .minReplicas)) -}}
{{- end -}}
{{- if not (or .metrics (default dict $.Values.resources.requests).cpu) -}}
{{- $mistakes = append $mistakes "resources.requests.cpu: autoscaling.targetCPUUtilizationPercentage is a part of it; set it, or autoscaling.metrics" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (not $postgres) (gt $replicas 1) -}}
{{- $mistakes = append $mistakes (printf "replicaCount: %d pods cannot share one SQLite database; set database.type to postgresql, or replicaCount to 1" $replicas) -}}
{{- end -}}
{{- if and $postgres (eq (default "process" (default dict $config.prometheus).provisioner) "process") -}}
{{- $mistakes = append $mistakes "config.prometheus.provisioner: process works with one pod and database.type sqlite only; set none or tsuru" -}}
{{- end -}}
{{- range $key, $address := dict "listen" (include "scrapebroker.addresses" . | fromJsonArray | first) "health_listen" $config.health_listen "query.listen" (default dict $config.query).listen "events.listen" (default dict $config.events).listen -}}
{{- if regexMatch "^(127\\.|localhost:|\\[::1\\])" (default "" $address) -}}
{{- $mistakes = append $mistakes (printf "config.%s: %s is not reachable from outside of the pod; use 0.0.0.0 or [::]" $key $address) -}}
{{- end -}}
{{- end -}}
{{- if and (not $config.health_listen) (include "scrapebroker.clientCertificates" .) -}}
{{- $mistakes = append $mistakes "config.health_listen: probes have no client certificate, so they require this listener" -}}
{{- end -}}
{{- if and .Values.tls.clientCertificates (not .Values.tls.existingSecret) -}}
{{- $mistakes = append $mistakes "tls.clientCertificates: requires tls.existingSecret" -}}
{{- end -}}
{{- if and (include "scrapebroker.hasWebConfig" .) (not .Values.service.scheme) -}}
{{- $mistakes = append $mistakes "service.scheme: the chart does not read the web configuration file; set https if it contains tls_server_config, or http" -}}
{{- end -}}
{{- if and (eq .Values.service.scheme "http") (or .Values.tls.existingSecret (default dict $config.tls).cert (default dict $config.tls).cert_file) -}}
{{- $mistakes = append $mistakes "service.scheme: the listeners have a certificate; set https, or leave it empty" -}}
{{- end -}}
{{- if include "scrapebroker.clientCertificates" . -}}
{{- $monitors := dict "serviceMonitor" (or .Values.serviceMonitor.enabled .Values.podMonitor.enabled) "scrapeConfig" .Values.scrapeConfig.enabled -}}
{{- range $key, $enabled := $monitors -}}
{{- $tls := (get $.Values $key).tlsConfig -}}
{{- if and $enabled (not (or $tls.cert $tls.certFile)) -}}
{{- $mistakes = append $mistakes (printf "%s.tlsConfig: the listeners require a client certificate; set cert and keySecret" $key) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.probe.enabled (not .Values.probe.targets) (eq .Values.probe.module "http_2xx") (not .Values.ingress.enabled) (not .Values.httpRoute.enabled) -}}
{{- $mistakes = append $mistakes "probe.module: the listeners require a client certificate; set a module of the blackbox exporter that presents one" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled .Values.podMonitor.enabled -}}
{{- $mistakes = append $mistakes "podMonitor.enabled: set either this or serviceMonitor.enabled; with both, Prometheus stores each sample twice" -}}
{{- end -}}
{{- if and .Values.serviceMonitor.events.enabled (not (default dict $config.events).listen) -}}
{{- $mistakes = append $mistakes "serviceMonitor.events.enabled: requires config.events.listen" -}}
{{- end -}}
{{- range $key, $monitor := dict "serviceMonitor" .Values.serviceMonitor "serviceMonitor.events" .Values.serviceMonitor.events -}}
{{- if and $monitor.basicAuth $monitor.authorization -}}
{{- $mistakes = append $mistakes (printf "%s.authorization: set either this or %s.basicAuth" $key $key) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.probe.enabled (not .Values.probe.prober) -}}
{{- $mistakes = append $mistakes "probe.prober: set the address of the blackbox exporter" -}}
{{- end -}}
{{- if .Values.scrapeConfig.enabled -}}
{{- $keys := include "scrapebroker.brokerKeys" . | fromJson -}}
{{- if not (or .Values.scrapeConfig.basicAuth .Values.scrapeConfig.authorization (and $keys.username $keys.password)) -}}
{{- $mistakes = append $mistakes "scrapeConfig.basicAuth: /sd requires credentials; set this, scrapeConfig.authorization, broker.existingSecret, or broker.username and broker.password" -}}
{{- end -}}
{{- if and .Values.scrapeConfig.basicAuth .Values.scrapeConfig.authorization -}}
{{- $mistakes = append $mistakes "scrapeConfig.authorization: set either this or scrapeConfig.basicAuth" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) -}}
{{- $mistakes = append $mistakes "httpRoute.parentRefs: name at least one Gateway" -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) -}}
{{- $mistakes = append $mistakes "ingress.hosts: name at least one host" -}}
{{- end -}}
{{- $ports := include "scrapebroker.ports" . | fromJson -}}
{{- range $at, $host := .Values.ingress.hosts -}}
{{- range .paths -}}
{{- if not (hasKey $ports (default "metrics" .port)) -}}
{{- $mistakes = append $mistakes (printf "ingress.hosts[%d]: the port %s requires config.%s.listen" $at .port .port) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if .Values.httpRoute.enabled -}}
{{- $offered := list (int .Values.service.port) -}}
{{- range $name, $port := dict "query" .Values.service.queryPort "events" .Values.service.eventsPort -}}
{{- if hasKey $ports $name -}}{{- $offered = append $offered (int $port) -}}{{- end -}}
{{- end -}}
{{- range include "scrapebroker.routedPorts" . | fromJsonArray -}}
{{- if not (has (int .) $offered) -}}
{{- $mistakes = append $mistakes (printf "httpRoute.rules: the Service has no port %d; set a port of service, and config.query.listen or config.events.listen if it is theirs" (int .)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $mistakes -}}
{{- fail (printf "the values have mistakes:\n* %s" (join "\n* " $mistakes)) -}}
{{- end -}}
{{- end -}}
