import { definePlugin, type OrchestratorCommand, type Policy } from '@cloudos/sdk';
import { kubernetesPolicy } from './kubernetes.policy.ts';
import { type KubernetesOptions, kubernetesOptions } from './options.ts';

/** Declares, keeps and updates workloads as Kubernetes does, from its manifests. */
export default definePlugin<'orchestrator', KubernetesOptions>({
  name: 'orchestrator-kubernetes',
  slot: 'orchestrator',
  apiVersion: 1,
  description: 'Kubernetes workloads: Deployment, ReplicaSet, Pod, Service',
  requires: ['resources'],
  supports: { rollout: true, rollback: true, restartPolicy: true, services: true },
  config: kubernetesOptions,
  create: (_context, options) => kubernetesPolicy(options) as Policy<unknown, OrchestratorCommand>,
});
