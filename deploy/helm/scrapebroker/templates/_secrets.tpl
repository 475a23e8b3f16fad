{{/* Where secrets come from, and mistakes about them. No message contains the value of a secret. */}}

{{/*
Which values set a key of the broker, or the URL of the database: (list $ "broker.token_key"). As JSON. A variable with a whole section,
and `extraEnvFrom`, may contain any key, so they count if there is no other source.
*/}}
{{- define "scrapebroker.sources" -}}
{{- $root := index . 0 -}}
{{- $path := splitList "." (index . 1) -}}
{{- $key := last $path -}}
{{- $config := default dict $root.Values.config -}}
{{- $variable := printf "SCRAPEBROKER__%s" (join "__" $path | upper) -}}
{{- $sources := list -}}
{{- $anyKey := list -}}
{{- if eq $key "database_url" -}}
{{- if include "scrapebroker.databaseSecret" $root -}}
{{- $sources = append $sources (ternary "database.existingSecret" "database.url" (not (empty $root.Values.database.existingSecret))) -}}
{{- end -}}
{{- else -}}
{{- $config = default dict $config.broker -}}
{{- if hasKey (include "scrapebroker.brokerKeys" $root | fromJson) $key -}}
{{- $value := printf "broker.%s" ($key | camelcase | untitle) -}}
{{- $sources = append $sources (ternary "broker.existingSecret" $value (not (empty $root.Values.broker.existingSecret))) -}}
{{- end -}}
{{- end -}}
{{- range list $key (printf "%s_file" $key) -}}
{{- if get $config . -}}
{{- $sources = append $sources (printf "config.%s" (append (initial $path) . | join ".")) -}}
{{- end -}}
{{- end -}}
{{- range $root.Values.extraEnv -}}
{{- if or .value .valueFrom -}}
{{- if has .name (list $variable (printf "%s_FILE" $variable)) -}}
{{- $sources = append $sources (printf "%s in extraEnv" .name) -}}
{{- else if eq .name "SCRAPEBROKER__BROKER" -}}
{{- $anyKey = append $anyKey (printf "%s in extraEnv" .name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $root.Values.extraEnvFrom -}}
{{- $anyKey = append $anyKey "extraEnvFrom" -}}
{{- end -}}
{{- default $anyKey $sources | toJson -}}
{{- end -}}

{{/* The paths of secrets in a part of the configuration, one a line: (list "PATH" VALUE). */}}
{{- define "scrapebroker.inlineSecrets" -}}
{{- $path := index . 0 -}}
{{- $value := index . 1 -}}
{{- $keys := list "password" "password_bcrypt" "token" "token_key" "bearer_token" "principal_secret" "key" -}}
{{- if kindIs "map" $value -}}
{{- /* Users choose the keys of these sections. */ -}}
{{- $named := regexMatch "\\.(remote_writes|params|headers)$" $path -}}
{{- range $key, $inner := $value -}}
{{- $at := printf "%s.%s" $path $key -}}
{{- if and (not $named) (has $key $keys) (ne (toString (default "" $inner)) "") -}}
{{- $at }}{{ "\n" -}}
{{- else if and (regexMatch "\\.headers$" $path) (regexMatch "(?i)authorization|cookie|token|secret|password|api-?key" $key) -}}
{{- $at }}{{ "\n" -}}
{{- else -}}
{{- include "scrapebroker.inlineSecrets" (list $at $inner) -}}
{{- end -}}
{{- end -}}
{{- else if kindIs "slice" $value -}}
{{- range $index, $inner := $value -}}
{{- include "scrapebroker.inlineSecrets" (list (printf "%s[%d]" $path $index) $inner) -}}
{{- end -}}
{{- else if kindIs "string" $value -}}
{{- $password := "://[^/@]*:[^/@]+@" -}}
{{- if hasSuffix ".database_url" $path -}}{{- $password = "^\\w+:/*[^@]*:[^@]+@|[?&]password=[^&]" -}}{{- end -}}
{{- if or (regexMatch $password $value) (contains "PRIVATE KEY-----" $value) -}}
{{- $path }}{{ "\n" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Mistakes about secrets and their sources, as JSON. */}}
{{- define "scrapebroker.secretMistakes" -}}
{{- $config := default dict .Values.config -}}
{{- $mistakes := list -}}
{{- range include "scrapebroker.inlineSecrets" (list "config" $config) | splitList "\n" | compact -}}
{{- $mistakes = append $mistakes (printf "%s: a secret must not be in the ConfigMap; use broker, database, tls, secretFiles or existingSecrets, and a key with the suffix _file" .) -}}
{{- end -}}
{{- range $name, $text := .Values.files -}}
{{- if or (contains "PRIVATE KEY-----" $text) (regexMatch "\\$2[abxy]\\$[0-9]{2}\\$[./A-Za-z0-9]{53}" $text) -}}
{{- $mistakes = append $mistakes (printf "files.%s: a private key or the hash of a password must not be in the ConfigMap; use secretFiles or existingSecrets" $name) -}}
{{- end -}}
{{- end -}}
{{- with .Values.broker -}}
{{- if and .existingSecret (or .username .password .tokenKey) -}}
{{- $mistakes = append $mistakes "broker.existingSecret: set either this or broker.username, broker.password and broker.tokenKey" -}}
{{- end -}}
{{- if contains ":" (default "" .username) -}}
{{- $mistakes = append $mistakes "broker.username: must not contain a colon" -}}
{{- end -}}
{{- if and .password (not (regexMatch "(?s)^.{12,}$" .password)) -}}
{{- $mistakes = append $mistakes "broker.password: must have at least 12 characters" -}}
{{- end -}}
{{- end -}}
{{- with .Values.database -}}
{{- if and .url .existingSecret -}}
{{- $mistakes = append $mistakes "database.url: set either this or database.existingSecret" -}}
{{- end -}}
{{- if and .url (not (regexMatch "^postgres(ql)?://." .url)) -}}
{{- $mistakes = append $mistakes "database.url: must begin with postgres:// or postgresql://" -}}
{{- end -}}
{{- end -}}
{{- if .Values.tls.existingSecret -}}
{{- range ternary (list "cert" "key" "client_ca") (list "cert" "key") .Values.tls.clientCertificates -}}
{{- range list . (printf "%s_file" .) -}}
{{- if get (default dict $config.tls) . -}}
{{- $mistakes = append $mistakes (printf "tls.existingSecret: is the same setting as config.tls.%s; set one of them" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $found := dict -}}
{{- range list "broker.username" "broker.password" "broker.token_key" "database_url" -}}
{{- $sources := include "scrapebroker.sources" (list $ .) | fromJsonArray -}}
{{- $_ := set $found . $sources -}}
{{- if gt (len $sources) 1 -}}
{{- $mistakes = append $mistakes (printf "%s: is the same setting as %s; set one of them" (first $sources) (rest $sources | join " and ")) -}}
{{- end -}}
{{- end -}}
{{- range $key, $other := dict "broker.username" "broker.password" "broker.password" "broker.username" -}}
{{- if and (get $found $other) (not (get $found $key)) -}}
{{- $mistakes = append $mistakes (printf "%s: is missing, but %s is set" $key (get $found $other | first)) -}}
{{- end -}}
{{- end -}}
{{- if include "scrapebroker.isPostgres" . -}}
{{- if not $found.database_url -}}
{{- $mistakes = append $mistakes "database.url: set the URL of the PostgreSQL, database.existingSecret, or SCRAPEBROKER__DATABASE_URL in extraEnv" -}}
{{- end -}}
{{- if not (get $found "broker.token_key") -}}
{{- $mistakes = append $mistakes "broker.tokenKey: PostgreSQL requires a token key; set a long random text, a Secret in broker.existingSecret that contains one, or SCRAPEBROKER__BROKER__TOKEN_KEY in extraEnv" -}}
{{- end -}}
{{- else -}}
{{- $isPostgres := or .Values.database.url .Values.database.existingSecret (regexMatch "^postgres" (default "" $config.database_url)) -}}
{{- range .Values.extraEnv -}}
{{- if and (has .name (list "SCRAPEBROKER__DATABASE_URL" "SCRAPEBROKER__DATABASE_URL_FILE")) (not (hasPrefix "sqlite:" (default "" .value))) -}}
{{- $isPostgres = true -}}
{{- end -}}
{{- end -}}
{{- if $isPostgres -}}
{{- $mistakes = append $mistakes "database.type: set postgresql for the configured PostgreSQL" -}}
{{- end -}}
{{- end -}}
{{- toJson $mistakes -}}
{{- end -}}

{{/* Mistakes in `extraEnv`, as JSON. */}}
{{- define "scrapebroker.variableMistakes" -}}
{{- $mistakes := list -}}
{{- $names := list "SCRAPEBROKER_CONFIG" -}}
{{- range .Values.extraEnv -}}
{{- $name := .name -}}
{{- if eq $name "SCRAPEBROKER_CONFIG" -}}
{{- $mistakes = append $mistakes "extraEnv: the chart sets SCRAPEBROKER_CONFIG; use config" -}}
{{- else if has $name $names -}}
{{- $mistakes = append $mistakes (printf "extraEnv: %s is given twice" $name) -}}
{{- end -}}
{{- $value := default "" .value | replace "$$" "" -}}
{{- $reference := "\\$\\([-._a-zA-Z0-9]+\\)" -}}
{{- range regexFindAll $reference $value -1 | uniq -}}
{{- if not (or (has (. | trimPrefix "$(" | trimSuffix ")") $names) $.Values.extraEnvFrom) -}}
{{- $mistakes = append $mistakes (printf "extraEnv: %s refers to %s, which must be a variable before it in the list" $name .) -}}
{{- end -}}
{{- end -}}
{{- if or (hasPrefix "SCRAPEBROKER__" $name) (hasPrefix "PG" $name) -}}
{{- /* What is left without references is in the pod's specification. */ -}}
{{- $value = regexReplaceAllLiteral $reference $value "" | trim -}}
{{- $key := $name | trimPrefix "SCRAPEBROKER__" | trimPrefix "PG" | lower | splitList "__" | last -}}
{{- $setting := dict $key $value -}}
{{- if hasPrefix "{" $value -}}{{- $setting = fromJson $value -}}{{- end -}}
{{- if hasPrefix "[" $value -}}{{- $setting = fromJsonArray $value -}}{{- end -}}
{{- if include "scrapebroker.inlineSecrets" (list $name $setting) -}}
{{- $mistakes = append $mistakes (printf "extraEnv: the value of %s is a secret, which must not be in the pod's specification; use valueFrom.secretKeyRef" $name) -}}
{{- end -}}
{{- end -}}
{{- $names = append $names $name -}}
{{- end -}}
{{- toJson $mistakes -}}
{{- end -}}
