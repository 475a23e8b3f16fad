{{/* Names and labels. */}}

{{- /* In a parent chart, the name of the chart may be an alias such as `metricsBroker`. */ -}}
{{- define "scrapebroker.name" -}}
{{- default (kebabcase .Chart.Name) .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/*
The name of the objects. Names of pods and revisions append to it, and must not exceed 63 characters. A long name is cut,
and gets a hash, so that two long names remain different. The name of a Service has no dots and begins with a letter; that of a release
may have dots and begin with a digit.
*/}}
{{- define "scrapebroker.fullname" -}}
{{- $name := include "scrapebroker.name" . -}}
{{- $full := printf "%s-%s" .Release.Name $name -}}
{{- if .Values.fullnameOverride -}}
{{- $full = .Values.fullnameOverride -}}
{{- else if contains $name .Release.Name -}}
{{- $full = .Release.Name -}}
{{- end -}}
{{- $full = replace "." "-" $full -}}
{{- if regexMatch "^[0-9]" $full -}}
{{- $full = printf "%s-%s" (ternary $name "scrapebroker" (regexMatch "^[a-z]" $name)) .Release.Name | replace "." "-" -}}
{{- end -}}
{{- if gt (len $full) 50 -}}
{{- $full = printf "%s-%s" ($full | trunc 41 | trimSuffix "-") (sha256sum $full | trunc 8) -}}
{{- end -}}
{{- $full -}}
{{- end -}}

{{/*
The name of an object in another namespace: (list $ NAMESPACE). Releases of several namespaces may have objects in one namespace, so the
name then contains that of the release.
*/}}
{{- define "scrapebroker.nameIn" -}}
{{- $root := index . 0 -}}
{{- $name := include "scrapebroker.fullname" $root -}}
{{- if has (index . 1) (list "" $root.Release.Namespace) -}}
{{- $name -}}
{{- else -}}
{{- printf "%s-%s" $name $root.Release.Namespace -}}
{{- end -}}
{{- end -}}

{{/* Labels that select the pods. They never change, so they contain no version. */}}
{{- define "scrapebroker.selectorLabels" -}}
app.kubernetes.io/name: {{ include "scrapebroker.name" . | toYaml }}
app.kubernetes.io/instance: {{ .Release.Name | toYaml }}
{{- end -}}

{{- define "scrapebroker.labels" -}}
{{- $own := include "scrapebroker.selectorLabels" . | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/version" (.Chart.AppVersion | trunc 63) -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" .Release.Service -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63) -}}
{{- merge $own (default dict .Values.commonLabels) | toYaml -}}
{{- end -}}

{{- define "scrapebroker.podLabels" -}}
{{- merge (include "scrapebroker.selectorLabels" . | fromYaml) (default dict .Values.podLabels) (default dict .Values.commonLabels) | toYaml -}}
{{- end -}}

{{/* The pod of `helm test` must not match the selectors of the pods. */}}
{{- define "scrapebroker.testLabels" -}}
app.kubernetes.io/name: {{ include "scrapebroker.name" . }}-test
app.kubernetes.io/instance: {{ .Release.Name | toYaml }}
{{- end -}}

{{- define "scrapebroker.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "scrapebroker.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* The repository of an image, in the registry of `global.imageRegistry` if that is set: (list $ REPOSITORY). */}}
{{- define "scrapebroker.repository" -}}
{{- $repository := index . 1 -}}
{{- with (default dict (index . 0).Values.global).imageRegistry -}}
{{- $host := splitList "/" $repository | first -}}
{{- if and (contains "/" $repository) (or (regexMatch "[.:]" $host) (eq $host "localhost")) -}}
{{- $repository = trimPrefix (printf "%s/" $host) $repository -}}
{{- end -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" .) $repository -}}
{{- end -}}
{{- $repository -}}
{{- end -}}

{{/* An image: (list $ VALUES DEFAULT-TAG). */}}
{{- define "scrapebroker.image" -}}
{{- $image := index . 1 -}}
{{- include "scrapebroker.repository" (list (index . 0) $image.repository) -}}
{{- if $image.digest -}}
@{{ $image.digest }}
{{- else -}}
:{{ default (index . 2) $image.tag }}
{{- end -}}
{{- end -}}

{{/* The field `imagePullSecrets` of a pod, if there are any. Parent charts write names or maps into `global`. */}}
{{- define "scrapebroker.imagePullSecrets" -}}
{{- $secrets := list -}}
{{- range concat (default list (default dict .Values.global).imagePullSecrets) (default list .Values.imagePullSecrets) -}}
{{- $secrets = append $secrets (kindIs "string" . | ternary (dict "name" .) .) -}}
{{- end -}}
{{- with uniq $secrets -}}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{/* The URL of the Service inside the cluster. */}}
{{- define "scrapebroker.serviceUrl" -}}
{{ include "scrapebroker.scheme" . }}://{{ include "scrapebroker.fullname" . }}.{{ .Release.Namespace }}.svc:{{ .Values.service.port }}
{{- end -}}

{{/*
Whether the cluster has a custom resource: (list $ "GROUP/VERSION" "KIND"). `helm template --api-versions GROUP/VERSION` names no
kinds; a cluster names all of them.
*/}}
{{- define "scrapebroker.hasApi" -}}
{{- $root := index . 0 -}}
{{- $version := index . 1 -}}
{{- $kinds := 0 -}}
{{- range $root.Capabilities.APIVersions -}}
{{- if hasPrefix (printf "%s/" $version) . -}}{{- $kinds = add1 $kinds -}}{{- end -}}
{{- end -}}
{{- if $root.Capabilities.APIVersions.Has (printf "%s/%s" $version (index . 2)) -}}
true
{{- else if and (eq $kinds 0) ($root.Capabilities.APIVersions.Has $version) -}}
true
{{- end -}}
{{- end -}}
