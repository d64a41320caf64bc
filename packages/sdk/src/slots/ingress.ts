import type { Endpoint, ServiceSpec } from '../workload.ts';

/** Where a service is reached from outside. */
export interface ServiceAddress {
  readonly service: string;
  readonly host: string;
  /** Port of the service → port at `host`. */
  readonly ports: Readonly<Record<string, number>>;
}

/** Gives services their addresses and carries requests to the ready instances. Errors: PORT_IN_USE. */
export interface IngressDriver {
  /** Serves these services from these endpoints from now on: the whole wanted state. Idempotent. */
  apply(services: readonly IngressService[]): Promise<readonly ServiceAddress[]>;
}

export interface IngressService {
  readonly spec: ServiceSpec;
  readonly endpoints: readonly Endpoint[];
}
