import type { OrchestratorCommand, ResourcesCommand } from '../commands.ts';
import type { LogProvider } from '../log.ts';
import type { Policy } from '../policy.ts';
import type { ApiDriver } from './api.ts';
import type { GuestDriver } from './guest.ts';
import type { HostDriver } from './host.ts';
import type { IngressDriver } from './ingress.ts';

/** What each slot's plugin provides. */
export interface SlotProviders {
  log: LogProvider;
  resources: Policy<unknown, ResourcesCommand>;
  orchestrator: Policy<unknown, OrchestratorCommand>;
  host: HostDriver;
  guest: GuestDriver;
  ingress: IngressDriver;
  api: ApiDriver;
}

export type SlotName = keyof SlotProviders;

export interface SlotTraits {
  readonly kind: 'policy' | 'driver';
  /** How many providers may be active at once, per stack or per node. */
  readonly many: boolean;
  readonly per: 'stack' | 'node';
}

/** The slots of a stack. */
export const slots: Readonly<Record<SlotName, SlotTraits>> = {
  log: { kind: 'driver', many: false, per: 'stack' },
  resources: { kind: 'policy', many: false, per: 'stack' },
  orchestrator: { kind: 'policy', many: false, per: 'stack' },
  host: { kind: 'driver', many: false, per: 'node' },
  guest: { kind: 'driver', many: true, per: 'node' },
  ingress: { kind: 'driver', many: false, per: 'stack' },
  api: { kind: 'driver', many: true, per: 'stack' },
};
