import {
  apiVersion,
  type Decision,
  definePlugin,
  event,
  type NewEvent,
  nothing,
  type OrchestratorCommand,
  type Policy,
  type ResourcesCommand,
  type ResourceVector,
  refuse,
  type SharedEvent,
} from '@cloudos/sdk';
import { z } from 'zod';

/** When a toy policy misbehaves: in `create`, `decide`, `save`, `load`, or on an event type in `evolve`. */
const trouble = z.object({
  throwsOn: z.string().optional(),
  hangsOn: z.string().optional(),
  /** `react` returns nothing at all. */
  answersNothing: z.boolean().default(false),
  /** `react` always wants to be called again at once. */
  alwaysDue: z.boolean().default(false),
});
type Trouble = z.output<typeof trouble>;

function stumble({ throwsOn, hangsOn }: Trouble, on: string): void {
  if (throwsOn === on) throw new Error(`stumbled over ${on}`);
  if (hangsOn === on) for (;;);
}

interface ToyResources {
  nodes: string[];
  pending: Map<string, true>;
  placed: number;
}

/** Places everything round robin, whatever it asks for. */
export const toyResources = definePlugin({
  name: 'resources-toy',
  slot: 'resources',
  apiVersion,
  description: 'places round robin',
  config: trouble,
  create(_, config): Policy<ToyResources, ResourcesCommand> {
    stumble(config, 'create');
    return {
      initial: () => ({ nodes: [], pending: new Map(), placed: 0 }),
      evolve(state, recorded: SharedEvent) {
        stumble(config, recorded.type);
        if (recorded.type === 'NodeJoined' && !state.nodes.includes(recorded.data.node))
          state.nodes.push(recorded.data.node);
        if (recorded.type === 'InstanceRequested') state.pending.set(recorded.data.instance, true);
        if (recorded.type === 'InstanceWithdrawn') state.pending.delete(recorded.data.instance);
        if (recorded.type === 'InstancePlaced') {
          state.pending.delete(recorded.data.instance);
          state.placed++;
        }
        return state;
      },
      react(state, _, now): Decision {
        if (config.answersNothing) return undefined as never;
        if (config.alwaysDue) return { events: [], wakeAt: now };
        if (state.nodes.length === 0) return nothing;
        const { nodes, placed } = state;
        const events = [...state.pending.keys()].map((instance, at) =>
          event('InstancePlaced', { instance, node: nodes[(placed + at) % nodes.length] ?? '' }),
        );
        return { events };
      },
      decide() {
        stumble(config, 'decide');
        return refuse('COMMAND_REFUSED', 'the toy takes no commands');
      },
      snapshot: {
        version: 1,
        save({ nodes, pending, placed }) {
          stumble(config, 'save');
          return { nodes: [...nodes], pending: [...pending.keys()], placed };
        },
        load(saved) {
          stumble(config, 'load');
          const { nodes, pending, placed } = saved as { nodes: string[]; pending: string[]; placed: number };
          return { nodes: [...nodes], pending: new Map(pending.map((instance) => [instance, true])), placed };
        },
      },
    };
  },
});

interface ToyOrchestrator {
  limits: ResourceVector;
  revision: number;
  wanted: number;
  running: Set<string>;
  made: number;
}

/** One workload `default/toy`: `Scale` says how many instances there shall be, `Resize` with which limits. */
export const toyOrchestrator = definePlugin({
  name: 'orchestrator-toy',
  slot: 'orchestrator',
  apiVersion,
  description: 'keeps a number of instances',
  config: trouble,
  create(_, config): Policy<ToyOrchestrator, OrchestratorCommand> {
    stumble(config, 'create');
    const requests = { cpuMillis: 100, memoryBytes: 2 ** 20, diskBytes: 0, pids: 0 };
    const limits = { cpuMillis: 0, memoryBytes: 0, diskBytes: 0, pids: 0 };
    return {
      initial: () => ({ limits, revision: 0, wanted: 0, running: new Set(), made: 0 }),
      evolve(state, recorded: SharedEvent) {
        stumble(config, recorded.type);
        if (recorded.type === 'WorkloadDeclared' || recorded.type === 'WorkloadChanged') {
          state.wanted = recorded.data.replicas;
          state.limits = recorded.data.template.limits;
          state.revision = 1;
        }
        if (recorded.type === 'InstanceRequested') {
          state.running.add(recorded.data.instance);
          state.made++;
        }
        if (recorded.type === 'InstanceWithdrawn') state.running.delete(recorded.data.instance);
        return state;
      },
      react(state): Decision {
        const events: NewEvent[] = [];
        for (let more = state.wanted - state.running.size, at = 0; at < more; at++) {
          const instance = `toy-${state.made + at}`;
          events.push(
            event('InstanceRequested', { instance, workload: 'default/toy', revision: 1, requests, priority: 100 }),
          );
        }
        for (const instance of [...state.running].slice(state.wanted)) {
          events.push(event('InstanceWithdrawn', { instance, reason: 'scaled down', drainMs: 0, graceMs: 1_000 }));
        }
        return { events };
      },
      decide(state, command) {
        const others = { Scale: undefined, RemoveAll: 0, Resize: state.wanted };
        const replicas = command.type === 'Scale' ? command.replicas : others[command.type as keyof typeof others];
        if (replicas === undefined) return refuse('COMMAND_REFUSED', `the toy does not know ${command.type}`);
        if (replicas === state.wanted && command.type !== 'Resize') return nothing;
        const type = state.revision === 0 ? 'WorkloadDeclared' : 'WorkloadChanged';
        const spec = {
          workload: 'default/toy',
          kind: 'Toy',
          revision: 1,
          replicas,
          strategy: { kind: 'recreate' as const },
          priority: 100,
          constraints: [],
          minReadyMs: 0,
          progressDeadlineMs: 600_000,
          labels: {},
          template: {
            image: 'host:',
            command: ['sleep'],
            env: [],
            ports: [],
            requests,
            limits: command.type === 'Resize' ? command.limits : state.limits,
            restart: 'always' as const,
            stopGraceMs: 1_000,
            readOnlyRoot: false,
            labels: {},
          },
        };
        return { events: [event(type, spec)] };
      },
    };
  },
});
