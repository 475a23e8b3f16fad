"""The values of the charts that this one replaces, as in their values.yaml and their templates."""

DEMO_EXPORTER = [
    "replicaCount", "image.repository", "image.tag", "image.pullPolicy", "nameOverride", "fullnameOverride", "service.type",
    "service.port", "prometheus.serviceMonitor.enabled", "prometheus.serviceMonitor.namespace", "prometheus.serviceMonitor.interval",
    "prometheus.serviceMonitor.scrapeTimeout", "prometheus.serviceMonitor.additionalLabels",
    "prometheus.serviceMonitor.metricRelabelings", "labels", "podLabels", "resources", "nodeSelector", "tolerations", "affinity",
]

KAFKA_EXPORTER = [
    "kafkaExporter.kafka.servers", "kafkaExporter.kafka.version", "kafkaExporter.sasl.enabled", "kafkaExporter.sasl.handshake",
    "kafkaExporter.sasl.username", "kafkaExporter.sasl.password", "kafkaExporter.sasl.existingSecret", "kafkaExporter.sasl.mechanism",
    "kafkaExporter.sasl.oauthbearerTokenUrl", "kafkaExporter.tls.enabled", "kafkaExporter.tls.insecureSkipTlsVerify",
    "kafkaExporter.tls.caFile", "kafkaExporter.tls.certFile", "kafkaExporter.tls.keyFile", "kafkaExporter.log.verbosity",
    "kafkaExporter.log.enableSarama", "datadog.use_datadog", "datadog.prefix", "datadog.metrics",
    "azuremanagedprometheus.use_azuremanagedprometheus",
]
"""The values that kafka_exporter's chart has in addition to those of demo_exporter's."""

ONESHOT = [
    "serviceName", "serviceNamespace", "testEvent.image", "testEvent.tag", "server.image", "server.tag", "server.logLevel",
    "server.useExplicitTimestamps", "server.port", "server.resources", "service.port", "netpol.generate",
    "netpol.ingress.allowedNamespaceMatchLabels", "netpol.ingress.allowedPodMatchLabels", "netpol.from",
]

OLD_CHARTS = {"demo_exporter": DEMO_EXPORTER, "kafka_exporter": KAFKA_EXPORTER, "oneShotMetricsServer": ONESHOT}
