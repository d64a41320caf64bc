import { z } from 'zod';

export interface ListenConfig {
  readonly host: string;
  readonly port: number;
  readonly token: 'none' | 'file';
  readonly connectionsMax: number;
}

/**
 * The part of an `api` plugin's configuration that says where it listens and who may use it. To be spread into the
 * plugin's own schema.
 * @param defaults the port that clients of the system expect, and whether they can send a token
 */
export function listenConfig(defaults: { readonly port: number; readonly token: 'none' | 'file' }) {
  return {
    host: z.string().min(1).default('127.0.0.1'),
    /** 0: any free port; `cloudos get plugins` says which. */
    port: z.int().min(0).max(65_535).default(defaults.port),
    /**
     * `file`: requests carry `Authorization: Bearer <token>` with the token in the file `token` of the plugin's own
     * directory, made on first use, mode 0600. `none`: for clients that cannot; on loopback only.
     */
    token: z.enum(['none', 'file']).default(defaults.token),
    /** TCP connections at once; beyond, they are closed on arrival. */
    connectionsMax: z.int().positive().max(65_536).default(1_024),
  };
}
