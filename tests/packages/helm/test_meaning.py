"""What the rendered objects mean together: selectors, ports, secrets, probes, access."""

import json
import os
import re
import unittest

import kubernetes_validate
import yaml

from helm.chart import NAMESPACE, PodFolder, render, value_sets
from helm.secrets_outside import existing_secrets
from support import PROGRAM, ROOT, run

MONITORING = ROOT / "deploy/monitoring"


def matches(selector, labels):
    return all(labels.get(key) == value for key, value in selector.items())


def labels(item):
    return item["metadata"]["labels"]


class EachValueSet(unittest.TestCase):
    def check(self, check):
        for name, values in value_sets().items():
            with self.subTest(name):
                check(render(values))

    def test_each_selector_matches_the_pods_and_not_the_pod_of_the_test(self):
        def check(objects):
            selectors = [objects.workload()["spec"]["selector"]["matchLabels"], objects.one("Service")["spec"]["selector"]]
            for kind in ["PodDisruptionBudget", "PodMonitor"]:
                selectors += [item["spec"]["selector"]["matchLabels"] for item in objects.all(kind)]
            selectors += [item["spec"]["podSelector"]["matchLabels"] for item in objects.all("NetworkPolicy")]
            for spread in objects.template()["spec"].get("topologySpreadConstraints", []):
                selectors.append(spread["labelSelector"]["matchLabels"])
            for selector in selectors:
                self.assertTrue(matches(selector, labels(objects.template())), selector)
                for test in objects.all("Pod"):
                    if list(selector) != ["app.kubernetes.io/instance"]:
                        self.assertFalse(matches(selector, labels(test)), selector)

        self.check(check)

    def test_labels_that_select_contain_the_release_and_no_version(self):
        def check(objects):
            spec = objects.workload()["spec"]
            fixed = [spec["selector"]["matchLabels"], objects.one("Service")["spec"]["selector"]]
            for kind in ["ServiceMonitor", "PodMonitor", "PodDisruptionBudget"]:
                fixed += [item["spec"]["selector"]["matchLabels"] for item in objects.all(kind)]
            fixed += [item["spec"]["podSelector"]["matchLabels"] for item in objects.all("NetworkPolicy")]
            fixed += [claim["metadata"]["labels"] for claim in spec.get("volumeClaimTemplates", [])]
            for found in fixed:
                self.assertEqual(sorted(found), ["app.kubernetes.io/instance", "app.kubernetes.io/name"])

        self.check(check)

    def test_named_ports_exist(self):
        def check(objects):
            ports, service = objects.ports(), objects.one("Service")
            names = {port["name"] for port in service["spec"]["ports"]}
            for port in service["spec"]["ports"]:
                self.assertIn(port["targetPort"], ports)
                self.assertEqual(port["targetPort"], port["name"])
            for probe in ["startupProbe", "livenessProbe", "readinessProbe"]:
                for action in ["httpGet", "tcpSocket"]:
                    if action in objects.container().get(probe, {}):
                        self.assertIn(objects.container()[probe][action]["port"], ports)
            for monitor in objects.all("ServiceMonitor"):
                self.assertLessEqual({endpoint["port"] for endpoint in monitor["spec"]["endpoints"]}, names)
            for monitor in objects.all("PodMonitor"):
                self.assertLessEqual({endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]}, set(ports))
            for policy in objects.all("NetworkPolicy"):
                allowed = {port["port"] for port in policy["spec"]["ingress"][0]["ports"]}
                self.assertLessEqual(names, allowed)
                self.assertEqual(allowed, set(ports) - {"health"})
            for ingress in objects.all("Ingress"):
                for rule in ingress["spec"]["rules"]:
                    for path in rule["http"]["paths"]:
                        self.assertIn(path["backend"]["service"]["port"]["name"], names)
            for route in objects.all("HTTPRoute"):
                numbers = {port["port"] for port in service["spec"]["ports"]}
                for rule in route["spec"]["rules"]:
                    self.assertLessEqual({backend["port"] for backend in rule["backendRefs"]}, numbers)

        self.check(check)

    def test_ports_are_those_of_the_listeners(self):
        def check(objects):
            config = objects.config()
            listeners = {"metrics": config["listen"], "health": config.get("health_listen")}
            listeners |= {name: config.get(name, {}).get("listen") for name in ["query", "events"]}
            expected = {name: int(address.rsplit(":", 1)[1]) for name, address in listeners.items() if address}
            self.assertEqual(objects.ports(), expected)

        self.check(check)

    def test_monitors_select_the_service_and_the_job_is_its_label(self):
        def check(objects):
            service = objects.one("Service")
            for monitor in objects.all("ServiceMonitor"):
                spec = monitor["spec"]
                self.assertTrue(matches(spec["selector"]["matchLabels"], labels(service)))
                self.assertEqual(spec["namespaceSelector"]["matchNames"], [service["metadata"]["namespace"]])
                self.assertEqual(labels(service)[spec["jobLabel"]], "scrapebroker")
            for monitor in objects.all("PodMonitor"):
                self.assertEqual(labels(objects.template())[monitor["spec"]["jobLabel"]], "scrapebroker")

        self.check(check)

    def test_no_config_map_contains_a_secret(self):
        def check(objects):
            secrets = existing_secrets() | objects.secrets()
            public = ("ca.crt", "tls.crt", "username", "user", "host", "dbname")
            texts = {text for keys in secrets.values() for name, text in keys.items() if name not in public}
            for item in objects:
                if item["kind"] != "Secret":
                    shown = json.dumps(item)
                    for text in texts:
                        self.assertNotIn(json.dumps(text)[1:-1], shown, item["kind"])

        self.check(check)

    def test_the_container_gets_secrets_as_files_or_references(self):
        def check(objects):
            for variable in objects.container()["env"]:
                if re.search("PASSWORD|TOKEN|SECRET|KEY", variable["name"]) and not variable["name"].endswith("_FILE"):
                    self.assertIn("secretKeyRef", variable["valueFrom"])

        self.check(check)

    def test_all_mounts_have_a_volume_and_all_volumes_a_mount(self):
        def check(objects):
            spec = objects.template()["spec"]
            volumes = {volume["name"] for volume in spec["volumes"]}
            volumes |= {claim["metadata"]["name"] for claim in objects.workload()["spec"].get("volumeClaimTemplates", [])}
            self.assertEqual(volumes, {mount["name"] for mount in objects.container()["volumeMounts"]})

        self.check(check)

    def test_only_the_user_and_the_group_can_read_secrets(self):
        def check(objects):
            for pod in [objects.template(), *objects.all("Pod")]:
                for volume in pod["spec"].get("volumes", []):
                    if "secret" in volume:
                        self.assertEqual(volume["secret"]["defaultMode"], 0o440)

        self.check(check)

    def test_pods_run_without_privileges(self):
        def check(objects):
            pods = [objects.template(), *objects.all("Pod")]
            for pod in pods:
                context = pod["spec"]["securityContext"]
                self.assertTrue(context["runAsNonRoot"])
                self.assertEqual(context["seccompProfile"], {"type": "RuntimeDefault"})
                container = pod["spec"]["containers"][0]
                self.assertEqual(container["securityContext"], {
                    "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}})
                self.assertIn("memory", container["resources"]["limits"])
                self.assertFalse(pod["spec"]["enableServiceLinks"])

        self.check(check)

    def test_the_limit_of_memory_fits_the_memory_budget(self):
        self.check(lambda objects: self.assertNotIn("resources.limits.memory", objects.notes))

    def test_the_grace_period_is_longer_than_the_stop(self):
        def check(objects):
            with PodFolder(objects, existing_secrets()) as folder:
                effective = yaml.safe_load(run(PROGRAM, "check-config", env=os.environ | folder.variables))
            stop = sum(map(seconds, [effective["drain_wait"], effective["shutdown_grace"]]))
            grace = objects.template()["spec"]["terminationGracePeriodSeconds"]
            if grace != 5:
                self.assertEqual(grace, -(-stop // 1) + 10)

        self.check(check)

    def test_objects_of_custom_resources_are_left_out_of_clusters_without_them(self):
        kinds = {"ServiceMonitor", "PodMonitor", "Probe", "ScrapeConfig", "PrometheusRule", "HTTPRoute"}
        for name, values in value_sets().items():
            with self.subTest(name):
                wanted = {item["kind"] for item in render(values)} & kinds
                objects = render(values, apis=[])
                self.assertEqual({item["kind"] for item in objects} & kinds, set())
                for kind in wanted:
                    self.assertIn(f"/{'v1alpha1' if kind == 'ScrapeConfig' else 'v1'} {kind}", objects.notes)


def seconds(text):
    units = {"h": 3600, "m": 60, "s": 1, "ms": 0.001}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)(ms|[hms])", text))


class Workloads(unittest.TestCase):
    def test_sqlite_runs_in_a_stateful_set_with_a_volume(self):
        objects = render({})
        claim = objects.workload()["spec"]["volumeClaimTemplates"][0]
        self.assertEqual(objects.workload()["kind"], "StatefulSet")
        self.assertEqual((claim["apiVersion"], claim["kind"]), ("v1", "PersistentVolumeClaim"))
        self.assertEqual(claim["spec"]["accessModes"], ["ReadWriteOnce"])
        self.assertEqual(objects.config()["store_is_durable"], True)
        self.assertEqual(objects.all("PodDisruptionBudget"), [])
        # The folder of the database is the volume.
        mounts = {mount["name"]: mount["mountPath"] for mount in objects.container()["volumeMounts"]}
        self.assertTrue(objects.config()["database_url"].startswith(f"sqlite://{mounts['data']}/"))

    def test_without_a_volume_the_program_knows_that_the_store_is_lost(self):
        objects = render({"persistence": {"enabled": False}})
        self.assertNotIn("volumeClaimTemplates", objects.workload()["spec"])
        self.assertEqual(objects.config()["store_is_durable"], False)
        self.assertIn("loses all bindings", objects.notes)

    def test_annotations_of_the_values_replace_those_of_the_chart(self):
        key = "kubectl.kubernetes.io/default-container"
        values = {"podAnnotations": {key: "other", "prometheus.io/port": "1"}, "prometheusAnnotations": True}
        found = render(values).template()["metadata"]["annotations"]
        self.assertEqual((found[key], found["prometheus.io/port"], found["prometheus.io/scrape"]), ("other", "1", "true"))
        policy = "helm.sh/hook-delete-policy"
        found = render({"tests": {"annotations": {policy: "before-hook-creation"}}}).one("Pod")["metadata"]["annotations"]
        self.assertEqual((found[policy], found["helm.sh/hook"]), ("before-hook-creation", "test"))

    def test_two_addresses_with_one_port_are_one_port_of_the_pod(self):
        objects = render({"config": {"listen": ["0.0.0.0:8085", "[::]:8085", "0.0.0.0:9000"]}})
        self.assertEqual(objects.ports(), {"health": 8086, "metrics": 8085, "metrics-3": 9000})

    def test_an_existing_claim_is_used(self):
        objects = render({"persistence": {"existingClaim": "old"}})
        self.assertNotIn("volumeClaimTemplates", objects.workload()["spec"])
        self.assertIn({"name": "data", "persistentVolumeClaim": {"claimName": "old"}}, objects.template()["spec"]["volumes"])

    def test_storage_classes(self):
        def storage_class(value):
            claim = render({"persistence": {"storageClass": value}}).workload()["spec"]["volumeClaimTemplates"][0]
            return claim["spec"].get("storageClassName")

        self.assertEqual([storage_class(value) for value in ["", "-", "fast"]], [None, "", "fast"])

    def test_postgresql_runs_replicas_that_are_spread_and_updated_without_an_interruption(self):
        objects = render(value_sets()["postgresql"])
        spec = objects.one("Deployment")["spec"]
        self.assertEqual((spec["replicas"], spec["strategy"]["rollingUpdate"]), (3, {"maxSurge": 1, "maxUnavailable": 0}))
        spread = objects.template()["spec"]["topologySpreadConstraints"]
        self.assertEqual([item["topologyKey"] for item in spread], ["kubernetes.io/hostname", "topology.kubernetes.io/zone"])
        self.assertEqual(objects.one("PodDisruptionBudget")["spec"]["maxUnavailable"], 1)
        self.assertEqual(objects.all("Secret"), [])

    def test_a_budget_that_is_off_is_not_rendered(self):
        values = value_sets()["postgresql"]
        self.assertEqual(render(values | {"podDisruptionBudget": {"enabled": False}}).all("PodDisruptionBudget"), [])
        self.assertEqual(render(values | {"replicaCount": 1}).all("PodDisruptionBudget"), [])

    def test_with_an_autoscaler_the_chart_does_not_set_the_number_of_pods(self):
        objects = render(value_sets()["autoscaling"])
        self.assertNotIn("replicas", objects.one("Deployment")["spec"])
        spec = objects.one("HorizontalPodAutoscaler")["spec"]
        scaled = {key: objects.workload()[key] for key in ["apiVersion", "kind"]} | {"name": objects.workload()["metadata"]["name"]}
        self.assertEqual((spec["scaleTargetRef"], spec["minReplicas"], spec["maxReplicas"]), (scaled, 2, 8))
        self.assertEqual(spec["metrics"][0]["resource"], {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}})
        # There are several pods, although replicaCount is 1.
        self.assertEqual(objects.one("PodDisruptionBudget")["spec"]["maxUnavailable"], 1)
        self.assertIn("topologySpreadConstraints", objects.template()["spec"])
        self.assertNotIn("One pod runs", objects.notes)
        values = value_sets()["autoscaling"]
        metrics = [{"type": "Pods", "pods": {"metric": {"name": "a"}, "target": {"type": "AverageValue", "averageValue": "1"}}}]
        values["autoscaling"] |= {"minReplicas": 1, "metrics": metrics}
        objects = render(values | {"resources": {}})
        self.assertEqual(objects.one("HorizontalPodAutoscaler")["spec"]["metrics"], metrics)
        self.assertIn("set autoscaling.minReplicas to 2 or more", objects.notes)
        self.assertEqual(render(value_sets()["postgresql"]).all("HorizontalPodAutoscaler"), [])

    def test_pods_that_are_not_ready_may_be_evicted_where_kubernetes_can_do_that(self):
        values = value_sets()["postgresql"]
        self.assertNotIn("unhealthyPodEvictionPolicy", render(values).one("PodDisruptionBudget")["spec"])
        budget = render(values | {"podDisruptionBudget": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}}).one("PodDisruptionBudget")
        self.assertEqual(budget["spec"]["unhealthyPodEvictionPolicy"], "AlwaysAllow")
        for version in ["1.27", kubernetes_validate.latest_version()]:
            kubernetes_validate.validate(budget, version, strict=True)

    def test_the_network_of_the_node_resolves_names_of_the_cluster(self):
        spec = render({"hostNetwork": True}).template()["spec"]
        self.assertEqual((spec["hostNetwork"], spec["dnsPolicy"]), (True, "ClusterFirstWithHostNet"))
        self.assertEqual(render({"hostNetwork": True, "dnsPolicy": "Default"}).template()["spec"]["dnsPolicy"], "Default")
        self.assertEqual({"hostNetwork", "dnsPolicy"} & set(render({}).template()["spec"]), set())
        self.assertIn("do not apply the NetworkPolicy", render({"hostNetwork": True, "networkPolicy": {"enabled": True}}).notes)

    def test_the_pod_of_the_test_has_its_own_labels_and_image(self):
        pod = render(value_sets()["everything-else"]).one("Pod")
        self.assertEqual(pod["spec"]["containers"][0]["image"], "registry.example.com/busybox@sha256:" + "0123456789" * 6 + "0123")
        self.assertLessEqual({"sidecar.istio.io/inject": "false", "app.kubernetes.io/name": "broker-test"}.items(), labels(pod).items())
        self.assertEqual(render({}).one("Pod")["spec"]["containers"][0]["image"], "docker.io/library/busybox:1.37")

    def test_a_change_of_the_configuration_or_of_a_secret_replaces_the_pods(self):
        def annotations(values):
            return render(values).template()["metadata"]["annotations"]

        base = value_sets()["sqlite"]
        changes = [{"config": base["config"] | {"drain_wait": "3s"}}, {"files": {"more.txt": "text"}},
                   {"broker": base["broker"] | {"password": "another password"}}, {"secretFiles": {"router-password": "another"}}]
        for change in changes:
            self.assertNotEqual(annotations(base), annotations(base | change), change)
        self.assertEqual(annotations(base), annotations(base | {"replicaCount": 1}))

    def test_the_defaults_of_the_stop_are_those_of_the_program(self):
        effective = yaml.safe_load(run(PROGRAM, "check-config"))
        self.assertEqual((effective["drain_wait"], effective["shutdown_grace"]), ("5s", "15s"))
        self.assertEqual(render({}).template()["spec"]["terminationGracePeriodSeconds"], 30)

    def test_durations_are_added_and_rounded_up(self):
        for wait, grace, expected in [("0s", "1ms", 11), ("1h30m", "2s", 5412), ("1m500ms", "20s", 91)]:
            objects = render({"config": {"drain_wait": wait, "shutdown_grace": grace}})
            self.assertEqual(objects.template()["spec"]["terminationGracePeriodSeconds"], expected)
        self.assertEqual(render({"terminationGracePeriodSeconds": 0}).template()["spec"]["terminationGracePeriodSeconds"], 0)

    def test_a_digest_takes_precedence_over_the_tag(self):
        image = {"repository": "r/s", "tag": "t", "digest": "sha256:" + "a" * 64}
        self.assertEqual(render({"image": image}).container()["image"], "r/s@sha256:" + "a" * 64)
        self.assertEqual(render({"image": {"repository": "r/s", "tag": "t"}}).container()["image"], "r/s:t")

    def test_the_notes_name_the_test_if_there_is_one(self):
        for values, expected in [({}, True), ({"tests": {"enabled": False}}, False), (value_sets()["tls"], False)]:
            objects = render(values)
            self.assertEqual(["helm test" in objects.notes, bool(objects.all("Pod"))], [expected, expected])

    def test_a_policy_that_refuses_prometheus_is_reported(self):
        values = {"networkPolicy": {"enabled": True}, "serviceMonitor": {"enabled": True}}
        self.assertIn("refuses connections from other namespaces", render(values).notes)
        credentials = {"authorization": {"credentials": {"name": "a", "key": "b"}}}
        for other in [{"scrapeConfig": {"enabled": True} | credentials}, {"probe": {"enabled": True, "prober": "b"}}]:
            self.assertIn("refuses connections from other namespaces", render({"networkPolicy": {"enabled": True}} | other).notes)
        values["networkPolicy"]["namespaces"] = ["monitoring"]
        self.assertNotIn("refuses connections", render(values).notes)

    def test_a_limit_that_is_too_low_for_the_budget_is_reported(self):
        notes = render({"config": {"scrape": {"max_memory": "1GiB"}}}).notes
        self.assertIn("resources.limits.memory is too low for config.scrape.max_memory: set at least 1328Mi", notes)
        for limit in ["1328Mi", "1.3Gi", "2G"]:
            values = {"config": {"scrape": {"max_memory": "1GiB"}}, "resources": {"limits": {"memory": limit}}}
            self.assertNotIn("too low", render(values).notes)


class Listeners(unittest.TestCase):
    def test_several_addresses_are_several_ports_and_the_service_has_the_first(self):
        for listen in [["0.0.0.0:8085", "[::]:9085"], "0.0.0.0:8085, [::]:9085"]:
            objects = render({"config": {"listen": listen}})
            self.assertEqual(objects.ports(), {"metrics": 8085, "metrics-2": 9085, "health": 8086})
            self.assertEqual([port["name"] for port in objects.one("Service")["spec"]["ports"]], ["metrics"])

    def test_another_path_and_namespace_of_the_metrics_are_used_everywhere(self):
        values = {"config": {"telemetry": {"path": "/own", "namespace": "sb"}}, "prometheusAnnotations": True}
        objects = render(values | {"serviceMonitor": {"enabled": True}})
        self.assertEqual(objects.one("ServiceMonitor")["spec"]["endpoints"][0]["path"], "/own")
        self.assertEqual(objects.template()["metadata"]["annotations"]["prometheus.io/path"], "/own")
        variables = {variable["name"]: variable["value"] for variable in objects.one("Pod")["spec"]["containers"][0]["env"]}
        self.assertEqual((variables["METRICS"], variables["METRIC"]), ("/own", "sb_build_info"))
        objects = render(values | {"serviceMonitor": {"enabled": True, "path": "/else"}})
        self.assertEqual(objects.one("ServiceMonitor")["spec"]["endpoints"][0]["path"], "/else")


class Probes(unittest.TestCase):
    def probes(self, values):
        container = render(values).container()
        return {name: container.get(f"{name}Probe") for name in ["startup", "liveness", "readiness"]}

    def test_probes_request_health_and_readiness_without_tls(self):
        probes = self.probes(value_sets()["tls"])
        expected = {"startup": "/-/healthy", "liveness": "/-/healthy", "readiness": "/-/ready"}
        for name, path in expected.items():
            self.assertEqual(probes[name]["httpGet"], {"path": path, "port": "health", "scheme": "HTTP"})

    def test_without_a_listener_for_health_the_main_listener_is_probed(self):
        probes = self.probes(value_sets()["https"])
        self.assertEqual(probes["liveness"]["httpGet"], {"path": "/-/healthy", "port": "metrics", "scheme": "HTTPS"})

    def test_values_replace_fields_and_actions_and_remove_probes(self):
        probes = self.probes(value_sets()["openshift"])
        self.assertEqual((probes["startup"]["failureThreshold"], probes["startup"]["periodSeconds"]), (30, 2))
        self.assertIsNone(probes["liveness"])
        self.assertEqual(probes["readiness"]["tcpSocket"], {"port": "metrics"})
        self.assertNotIn("httpGet", probes["readiness"])


class Access(unittest.TestCase):
    def test_only_locators_of_this_cluster_get_roles_in_their_namespaces(self):
        objects = render(value_sets()["query-pools"])
        rules = {role["metadata"]["namespace"]: role["rules"] for role in objects.all("Role")}
        services = [
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list"]},
            {"apiGroups": [""], "resources": ["endpoints"], "resourceNames": ["prometheus-b", "prometheus-operated"], "verbs": ["get"]},
        ]
        pods = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]
        self.assertEqual(rules, {"monitoring": services, "other": pods, "default": pods})
        account = objects.one("ServiceAccount")["metadata"]
        for binding in objects.all("RoleBinding"):
            self.assertEqual(binding["subjects"], [{"kind": "ServiceAccount", "name": account["name"], "namespace": NAMESPACE}])
            self.assertIn(binding["roleRef"]["name"], {role["metadata"]["name"] for role in objects.all("Role")})
        self.assertEqual(objects.template()["spec"]["serviceAccountName"], account["name"])

    def test_the_pod_has_a_token_only_if_it_needs_one(self):
        for name, values in value_sets().items():
            spec = render(values).template()["spec"]
            self.assertEqual(spec["automountServiceAccountToken"], name == "query-pools", name)

    def test_roles_are_left_out_if_they_are_off(self):
        objects = render(value_sets()["query-pools"] | {"rbac": {"create": False}})
        self.assertEqual(objects.all("Role") + objects.all("RoleBinding") + objects.all("ClusterRole"), [])

    def test_the_network_policy_allows_named_namespaces_and_all_egress_by_default(self):
        spec = render({"networkPolicy": {"enabled": True, "namespaces": ["monitoring"]}}).one("NetworkPolicy")["spec"]
        self.assertEqual(spec["ingress"][0]["from"], [
            {"podSelector": {}},
            {"namespaceSelector": {"matchExpressions": [
                {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["monitoring"]}]}}])
        self.assertEqual(spec["egress"], [{}])

    def test_rules_for_egress_do_not_prevent_the_resolution_of_names(self):
        rule = {"to": [{"ipBlock": {"cidr": "10.0.0.5/32"}}], "ports": [{"port": 5432}]}
        policy = {"enabled": True, "egress": [rule]}
        egress = render({"networkPolicy": policy}).one("NetworkPolicy")["spec"]["egress"]
        self.assertEqual(egress[1:], [rule])
        self.assertNotIn("to", egress[0])
        allowed = {(port["port"], port["protocol"]) for port in egress[0]["ports"]}
        self.assertEqual(allowed, {(port, protocol) for port in [53, 5353] for protocol in ["UDP", "TCP"]})
        egress = render({"networkPolicy": policy | {"dns": False}}).one("NetworkPolicy")["spec"]["egress"]
        self.assertEqual(egress, [rule])

    def test_a_policy_that_refuses_clients_of_the_load_balancer_is_reported(self):
        for kind in ["NodePort", "LoadBalancer"]:
            values = {"service": {"type": kind}, "networkPolicy": {"enabled": True}}
            self.assertIn(f"service.type is {kind}, but the NetworkPolicy refuses connections from outside", render(values).notes)
            values["networkPolicy"]["extraIngress"] = [{"from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}]
            self.assertNotIn("refuses connections", render(values).notes)
        self.assertNotIn("refuses connections", render({"networkPolicy": {"enabled": True}}).notes)

    def test_ports_without_access_control_that_clients_outside_reach_are_reported(self):
        listeners = {"query": {"listen": "0.0.0.0:9090", "pools": [{"name": "a", "locators": [{"static": ["http://a"]}]}]},
                     "events": {"listen": "0.0.0.0:8090"}}
        actions = {"metrics": "read the metrics of every app", "query": "query every pool", "events": "post and read events"}

        def exposed(values, config=listeners):
            notes = render(values | {"config": config}).notes
            reach = "Every client that reaches the Ingress, the Gateway or the load balancer can"
            return {port for port, action in actions.items() if f"{reach} {action}. Set config." in notes}

        def ingress(port):
            return {"ingress": {"enabled": True, "hosts": [{"host": "a.example.com", "paths": [{"port": port}]}]}}

        def route(*rules):
            return {"httpRoute": {"enabled": True, "parentRefs": [{"name": "g"}], "rules": list(rules)}}

        for port, number in {"metrics": 8085, "query": 9090, "events": 8090}.items():
            self.assertEqual(exposed(ingress(port)), {port})
            self.assertEqual(exposed(route({"backendRefs": [{"name": "metrics-scrapebroker", "port": number}]})), {port})
            self.assertEqual(exposed(route({"backendRefs": [{"name": "prometheus", "port": number}]})), set())
        self.assertEqual(exposed(route()), {"metrics"})
        self.assertEqual(exposed({"service": {"type": "LoadBalancer"}}), set(actions))
        self.assertEqual(exposed({"service": {"type": "LoadBalancer"}}, {}), {"metrics"})
        self.assertEqual(exposed({}), set())
        safe = {"scrape": {"access": "token"}, "query": listeners["query"] | {"access": "operators"}, "events": listeners["events"] | {"access": "token"}}
        self.assertEqual(exposed({"service": {"type": "NodePort"}}, safe), set())
        # Inside of the cluster.
        for notes, expected in [(render({"config": listeners}).notes, True), (render({"config": safe}).notes, False),
                                (render({"config": listeners, "networkPolicy": {"enabled": True}}).notes, False)]:
            for port in ["query", "events"]:
                self.assertEqual(f"Every pod of the cluster can {actions[port]}. Set config.{port}.access to" in notes, expected)

    def test_credentials_are_never_sent_to_the_instances_of_apps(self):
        spec = render(value_sets()["monitoring"]).one("ScrapeConfig")["spec"]
        self.assertTrue(spec["httpSDConfigs"][0]["url"].endswith("/v1/sd/apps/acme/my%20space?mode=direct"))
        self.assertIn("basicAuth", spec["httpSDConfigs"][0])
        self.assertNotIn("basicAuth", spec)

    def test_scrapes_through_scrapebroker_have_the_credentials_of_service_discovery(self):
        spec = render({"broker": {"existingSecret": "creds"}, "scrapeConfig": {"enabled": True}}).one("ScrapeConfig")["spec"]
        login = {key: {"name": "creds", "key": key} for key in ["username", "password"]}
        self.assertEqual((spec["basicAuth"], spec["httpSDConfigs"][0]["basicAuth"]), (login, login))
        self.assertTrue(spec["honorLabels"])
        self.assertEqual(spec["httpSDConfigs"][0]["url"], f"http://metrics-scrapebroker.{NAMESPACE}.svc:8085/sd")


def probed(objects):
    """The URLs that the blackbox exporter requests."""
    return objects.one("Probe")["spec"]["targets"]["staticConfig"]["static"]


class Urls(unittest.TestCase):
    def base_url(self, values):
        return render(values).config()["base_url"]

    def test_the_base_url_is_that_of_the_ingress_the_gateway_or_the_service(self):
        hosts = [{"host": "a.example.com"}]
        self.assertEqual(self.base_url({}), f"http://metrics-scrapebroker.{NAMESPACE}.svc:8085")
        self.assertEqual(self.base_url({"ingress": {"enabled": True, "hosts": hosts}}), "http://a.example.com")
        self.assertEqual(self.base_url(value_sets()["ingress"]), "https://metrics.example.com")
        self.assertEqual(self.base_url(value_sets()["gateway"]), "https://metrics.example.com")
        self.assertEqual(self.base_url(value_sets()["sqlite"]), "https://metrics.example.com")
        self.assertEqual(self.base_url({"tls": {"existingSecret": "t"}}), f"https://metrics-scrapebroker.{NAMESPACE}.svc:8085")
        hosts = [{"host": "events.example.com", "paths": [{"port": "events"}]}, *hosts]
        values = {"ingress": {"enabled": True, "hosts": hosts}, "config": {"events": {"listen": ":8090"}}}
        self.assertEqual(self.base_url(values), "http://a.example.com")
        wildcard = {"enabled": True, "hosts": [{"host": "*.example.com"}]}
        self.assertEqual(self.base_url({"ingress": wildcard}), f"http://metrics-scrapebroker.{NAMESPACE}.svc:8085")

    def test_with_tls_monitors_expect_the_host_of_users_in_the_certificate(self):
        objects, ca = render(value_sets()["https"]), {"ca": {"secret": {"name": "scrapebroker-tls", "key": "ca.crt"}}}
        endpoint = objects.one("ServiceMonitor")["spec"]["endpoints"][0]
        self.assertEqual((endpoint["scheme"], endpoint["tlsConfig"]), ("https", ca | {"serverName": "metrics.example.com"}))
        scrapes = objects.one("ScrapeConfig")["spec"]
        self.assertEqual(scrapes["httpSDConfigs"][0]["tlsConfig"], ca | {"serverName": "metrics.example.com"})
        self.assertEqual(scrapes["tlsConfig"], ca)
        self.assertEqual(probed(objects), ["https://metrics.example.com/scrapes/-/ready"])

    def test_another_name_in_the_certificate_is_for_connections_to_the_service_only(self):
        tls = {"serverName": "scrapebroker.internal"}
        values = {"tls": {"existingSecret": "s"}, "broker": {"existingSecret": "b"}, "config": {"base_url": "https://metrics.example.com"}}
        objects = render(values | {"serviceMonitor": {"enabled": True, "tlsConfig": tls}, "scrapeConfig": {"enabled": True, "tlsConfig": tls}})
        self.assertEqual(objects.one("ServiceMonitor")["spec"]["endpoints"][0]["tlsConfig"], tls)
        spec = objects.one("ScrapeConfig")["spec"]
        self.assertEqual((spec["httpSDConfigs"][0]["tlsConfig"], spec.get("tlsConfig")), (tls, None))

    def test_scrapes_of_instances_have_their_own_tls_settings_and_no_client_certificate(self):
        spec = render(value_sets()["tls"]).one("ScrapeConfig")["spec"]
        self.assertEqual(spec["tlsConfig"], {"ca": {"configMap": {"name": "instance-identity", "key": "ca.crt"}}, "insecureSkipVerify": True})
        self.assertEqual(spec["httpSDConfigs"][0]["tlsConfig"]["serverName"], "metrics.example.com")
        self.assertIn("cert", spec["httpSDConfigs"][0]["tlsConfig"])
        values = value_sets()["tls"]
        del values["scrapeConfig"]["scrapeTlsConfig"]
        self.assertNotIn("tlsConfig", render(values).one("ScrapeConfig")["spec"])

    def test_without_tls_the_probe_uses_the_service_and_nothing_has_tls_settings(self):
        objects = render(value_sets()["monitoring"])
        self.assertEqual(probed(objects), [f"http://metrics-scrapebroker.{NAMESPACE}.svc:8085/-/ready"])
        self.assertNotIn("tlsConfig", json.dumps([item for item in objects if "monitoring.coreos.com" in item["apiVersion"]]))

    def test_the_scheme_of_a_web_configuration_file_is_used_everywhere(self):
        values = {"service": {"scheme": "https"}, "serviceMonitor": {"enabled": True}, "prometheusAnnotations": True,
                  "config": {"web_config_file": "/etc/scrapebroker/secrets/files/web.yml", "health_listen": None}}
        objects = render(values)
        self.assertEqual([port["appProtocol"] for port in objects.one("Service")["spec"]["ports"]], ["https"])
        self.assertEqual(objects.one("ServiceMonitor")["spec"]["endpoints"][0]["scheme"], "https")
        self.assertEqual(objects.container()["readinessProbe"]["httpGet"]["scheme"], "HTTPS")
        self.assertEqual(objects.template()["metadata"]["annotations"]["prometheus.io/scheme"], "https")
        self.assertTrue(objects.config()["base_url"].startswith("https://"))
        self.assertIn("https://127.0.0.1:8085", objects.notes)


class Monitoring(unittest.TestCase):
    def test_events_are_scraped_with_their_own_credentials(self):
        own = {"credentials": {"name": "own", "key": "token"}}
        values = {"config": {"events": {"listen": "0.0.0.0:8090", "access": "token"}},
                  "serviceMonitor": {"enabled": True, "authorization": {"credentials": {"name": "m", "key": "k"}},
                                     "events": {"enabled": True, "authorization": own}}}
        metrics, events = render(values).one("ServiceMonitor")["spec"]["endpoints"]
        self.assertEqual((metrics["authorization"]["credentials"]["name"], events["authorization"]), ("m", own))

    def test_the_rules_are_those_of_the_project_and_their_templates_are_not_evaluated(self):
        groups = render({"prometheusRule": {"enabled": True, "promfetcher": True}}).one("PrometheusRule")["spec"]["groups"]
        files = [yaml.safe_load(file.read_text()) for file in sorted((MONITORING / "rules").glob("*.yml"))]
        self.assertEqual(groups, [group for file in files for group in file["groups"]])
        self.assertIn("{{ $labels.instance }}", json.dumps(groups))

    def test_promfetchers_rules_are_left_out_unless_they_are_wanted(self):
        groups = render({"prometheusRule": {"enabled": True}}).one("PrometheusRule")["spec"]["groups"]
        self.assertTrue(groups)
        self.assertNotIn("promfetch", json.dumps(groups))

    def test_promtool_accepts_the_rules_with_all_changes(self):
        objects = render(value_sets()["monitoring"])
        run("promtool", "check", "rules", "--lint-fatal", "/dev/stdin", input=json.dumps(objects.one("PrometheusRule")["spec"]))

    def test_alerts_are_left_out_and_labelled(self):
        rules = {"enabled": True, "disabledAlerts": ["ScrapebrokerDown"], "alertLabels": {"team": "a", "severity": "page"}}
        groups = render({"prometheusRule": rules}).one("PrometheusRule")["spec"]["groups"]
        alerts = {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}
        self.assertNotIn("ScrapebrokerDown", alerts)
        self.assertIn("ScrapebrokerRestarts", alerts)
        for rule in alerts.values():
            self.assertLessEqual({"team": "a", "severity": "page"}.items(), rule["labels"].items())

    def test_each_dashboard_is_a_config_map_that_the_sidecar_finds(self):
        objects = render({"dashboards": {"enabled": True, "folder": "Metrics", "namespace": "grafana"}})
        maps = [item for item in objects.all("ConfigMap") if labels(item).get("grafana_dashboard") == "1"]
        files = {file.name: json.loads(file.read_text()) for file in (MONITORING / "dashboards").glob("*.json")}
        self.assertEqual({name: json.loads(text) for item in maps for name, text in item["data"].items()}, files)
        for item in maps:
            self.assertEqual(item["metadata"]["annotations"], {"grafana_folder": "Metrics"})
            self.assertEqual(item["metadata"]["namespace"], "grafana")
            self.assertLess(len(json.dumps(item)), 1_000_000)

    def test_the_rules_select_the_job_that_the_monitor_sets(self):
        service, pod = {"serviceMonitor": {"enabled": True}}, {"podMonitor": {"enabled": True}}
        label = {"jobLabel": "app.kubernetes.io/instance"}
        cases = [
            (service, "scrapebroker"), (pod, "scrapebroker"), ({}, "scrapebroker"), (service | {"nameOverride": "broker"}, "broker"),
            (pod | {"nameOverride": "broker"}, "broker"), ({"serviceMonitor": {"enabled": True} | label}, "metrics"),
            ({"serviceMonitor": label} | pod, "metrics"), ({"serviceMonitor": {"enabled": True, "jobLabel": "team"}}, "metrics-scrapebroker"),
            ({"serviceMonitor": {"enabled": True, "jobLabel": ""}}, "metrics-scrapebroker"),
            ({"serviceMonitor": {"enabled": True, "jobLabel": "team"}, "service": {"labels": {"team": "sre"}}}, "sre"),
            ({"serviceMonitor": {"jobLabel": ""}} | pod, "platform/metrics-scrapebroker"),
        ]
        for values, job in cases:
            with self.subTest(values):
                objects = render(values | {"prometheusRule": {"enabled": True}})
                rules = objects.one("PrometheusRule")["spec"]
                run("promtool", "check", "rules", "--lint-fatal", "/dev/stdin", input=json.dumps(rules))
                text = json.dumps(rules).replace("\\", "")
                self.assertEqual(set(re.findall(r'job="([^"]+)"', text)), {job})
                self.assertIn(f"has the job {job}, so", text)
                self.assertEqual("has no monitor" in objects.notes, values == {})

    def test_relabelings_that_set_the_job_are_reported(self):
        for key in ["relabelings", "metricRelabelings"]:
            values = {"serviceMonitor": {"enabled": True, key: [{"targetLabel": "job", "replacement": "x"}]}, "prometheusRule": {"enabled": True}}
            self.assertIn(f"serviceMonitor.{key} sets the label job, but the rules select the job scrapebroker", render(values).notes)
            self.assertNotIn("sets the label job", render(values | {"prometheusRule": {"enabled": False}}).notes)

    def test_versions_without_kinds_are_enough_for_helm_template(self):
        objects = render(value_sets()["monitoring"], apis=["monitoring.coreos.com/v1", "monitoring.coreos.com/v1alpha1"])
        for kind in ["ServiceMonitor", "Probe", "PrometheusRule", "ScrapeConfig"]:
            objects.one(kind)

    def test_a_cluster_with_another_kind_of_the_version_does_not_get_a_scrape_config(self):
        apis = ["monitoring.coreos.com/v1alpha1", "monitoring.coreos.com/v1alpha1/AlertmanagerConfig"]
        self.assertEqual(render(value_sets()["monitoring"], apis=apis).all("ScrapeConfig"), [])
