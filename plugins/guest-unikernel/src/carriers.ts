import { bareCarrier, type Carrier, type VmHost, type Warnings } from '@cloudos/qemu';
import { messageOf } from '@cloudos/sdk';
import Docker from 'dockerode';
import { DockerCarrier } from './docker-carrier.ts';
import { findRunc, runcCarrier } from './runc-carrier.ts';

export type CarrierKind = 'docker' | 'runc' | 'bare';

export interface CarrierWish {
  readonly carrier: 'auto' | CarrierKind;
  readonly socket: string;
}

const engineMaxMs = 2_000;

/** What QEMU is run in here: an engine's container, else one of runc's, else the host as it is. */
export async function chooseCarrier(
  host: VmHost,
  { carrier, socket }: CarrierWish,
): Promise<{ carrier: Carrier; warnings: Warnings } | { reason: string; remedy: string }> {
  const warnings: { reason: string; remedy: string }[] = [];
  const wants = (kind: CarrierKind) => carrier === 'auto' || carrier === kind;
  const container = host.rootless || !host.bridge ? 'a container needs root and a bridge' : undefined;
  if (wants('docker')) {
    const found = container ?? (await engineAt(host, socket));
    if (typeof found !== 'string') return { carrier: found, warnings };
    const missing = { reason: `no Docker Engine for unikernels: ${found}`, remedy: 'apt-get install docker.io' };
    if (carrier === 'docker') return missing;
    warnings.push(missing);
  }
  if (wants('runc')) {
    const runc = findRunc();
    if (!container && runc) return { carrier: runcCarrier(host, runc), warnings };
    const missing = {
      reason: container ?? 'runc is not installed',
      remedy: container ? 'run as root' : 'apt-get install runc',
    };
    if (carrier === 'runc') return missing;
    warnings.push(missing);
  }
  return { carrier: bareCarrier(host), warnings };
}

async function engineAt(host: VmHost, socketPath: string): Promise<DockerCarrier | string> {
  const docker = new Docker({ socketPath });
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer at ${socketPath} in ${engineMaxMs} ms`)), engineMaxMs);
  });
  try {
    await Promise.race([docker.ping(), late]);
  } catch (error) {
    return messageOf(error);
  } finally {
    clearTimeout(timer);
  }
  return DockerCarrier.open(docker, host);
}
