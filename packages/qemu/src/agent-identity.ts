import { randomBytes } from 'node:crypto';
import { hostName } from '@cloudos/host-tools';
import type { Fields } from './agent-message.ts';
import { inside } from './vm-network.ts';
import type { VmState } from './vm-state.ts';

/** What a machine that goes on from the memory of another one, or of its own past, has to be told anew by its agent. */
export function identity({ spec, network }: Pick<VmState, 'spec' | 'network'>): Fields {
  const card = network && inside(network);
  return [
    ['time', String(Date.now() * 1000)],
    ['entropy', randomBytes(32).toString('hex')],
    ['hostname', spec.template.hostname ?? hostName(spec.instance)],
    ...(card
      ? ([
          ['ip', card.address],
          ['prefix', String(card.prefix)],
          ['gateway', card.gateway],
          ['mac', card.mac],
        ] as const)
      : []),
  ];
}
