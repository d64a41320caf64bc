import { digest } from '@cloudos/host-tools';
import type { QmpClient } from './qmp.ts';
import type { VmNetworkState } from './vm-state.ts';

/** What machines need of the node's network; a guest is named by its owner, `<runtime> <name>`. */
export interface VmBridge {
  ensure(): Promise<{ readonly prefix: number; readonly gateway: string }>;
  claim(owner: string, preferred?: string): Promise<string>;
  release(owner: string, address: string | undefined): Promise<void>;
  linkName(owner: string): string;
  plugTap(plug: { readonly link: string }, user?: number): Promise<void>;
  plugTapInto(plug: { readonly link: string }, pid: number, tap: { name: string; user?: number }): Promise<void>;
  unplug(link: string): Promise<void>;
  sweep(runtime: string, guests: ReadonlySet<string>): Promise<void>;
  remove(): Promise<boolean>;
}

/** Addresses of the network that QEMU plays for a guest whose ports are forwarded. */
export const portsNetwork = { address: '10.0.2.15', prefix: 24, gateway: '10.0.2.2' } as const;

/** A locally administered address, the same for the same guest. */
export function macOfGuest(owner: string): string {
  return `52:54:00:${digest(owner, 6).replace(/(..)(?=.)/g, '$1:')}`;
}

/** The address of a machine as its guest has to set it up. */
export function inside(network: VmNetworkState): { address: string; prefix: number; gateway: string; mac: string } {
  return network.kind === 'bridge' ? network : { ...portsNetwork, mac: network.mac };
}

/**
 * A card whose tap comes later is plugged into a hub. The second port takes what is sent before that: without one, the
 * first frame would wait for ever, and all others behind it.
 */
export const hub = ['-netdev', 'hubport,id=n0,hubid=0', '-netdev', 'hubport,id=h0,hubid=0'];
/** The tap in a network namespace of QEMU's own. */
export const innerTap = 'tap0';

/** Plugs a tap that was made after QEMU into the hub. */
export async function plugIntoHub(qmp: QmpClient): Promise<void> {
  const tap = { type: 'tap', id: 't0', ifname: innerTap, script: 'no', downscript: 'no' };
  await qmp.execute('netdev_add', tap);
  await qmp.execute('netdev_add', { type: 'hubport', id: 'h1', hubid: 0, netdev: 't0' });
}

/** Arguments for a tap that is there, or for forwarded ports. */
export function netdev(tap: string | undefined, ports: readonly number[], offloads = true): string[] {
  if (tap !== undefined)
    return ['-netdev', `tap,id=n0,ifname=${tap},script=no,downscript=no${offloads ? '' : ',vnet_hdr=off'}`];
  const forwards = ports.map((port) => `,hostfwd=tcp:127.0.0.1:0-:${port}`);
  return ['-netdev', `user,id=n0,restrict=on${forwards.join('')}`];
}

/** Where QEMU listens for the ports of the guest: port of the guest → port on 127.0.0.1. */
export async function forwardedPorts(qmp: QmpClient): Promise<Record<string, number>> {
  const ports: Record<string, number> = {};
  for (const line of (await qmp.monitor('info usernet')).split('\n')) {
    const match = /TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)\s+\S+\s+(\d+)/.exec(line);
    if (match?.[1] && match[2]) ports[match[2]] = Number(match[1]);
  }
  return ports;
}
