import type { OrchestratorCommand, Policy } from '@cloudos/sdk';
import { decide } from './decide.ts';
import { evolve } from './evolve.ts';
import { type KubernetesOptions, kubernetesOptions } from './options.ts';
import { react } from './react.ts';
import { kubernetesSnapshot } from './snapshot.ts';
import { State } from './state.ts';

/**
 * Kubernetes' workloads as a pure decider: Deployment, ReplicaSet, Pod and Service, declared by manifests, kept up by
 * the arithmetic of the deployment and replica set controllers and the restarts of the kubelet. Reads the shared
 * events alone, so it continues what another orchestrator has declared.
 */
export function kubernetesPolicy(given: Partial<KubernetesOptions> = {}): Policy<State, OrchestratorCommand> {
  const options = kubernetesOptions.parse(given);
  return {
    initial: () => new State(),
    evolve: (state, event) => evolve(state, event, options),
    react: (state, _events, now) => react(state, now, options),
    decide: (state, command) => decide(state, command, options),
    snapshot: kubernetesSnapshot,
  };
}
