import { z } from 'zod';
import { isSubnet } from './subnet.ts';

const subnet = z.string().refine(isSubnet, 'an IPv4 subnet such as 198.18.0.0/24 (prefix 8 to 29, no host bits)');

/** Settings of a guest plugin about the network of the node. */
export const networkConfig = z
  .strictObject({
    /** `bridge` gives each guest an address (root); `ports` forwards its TCP ports on 127.0.0.1; `auto`: what is possible. */
    mode: z.enum(['auto', 'bridge', 'ports']).default('auto'),
    /** Default: the first free of `cloudos0`, `cloudos1`, …; the guests of a node share one. */
    bridge: z
      .string()
      .regex(/^[a-z][a-z0-9.-]{0,14}$/, 'an interface name of at most 15 characters')
      .optional(),
    /** Default: a /24 of 198.18.0.0/15 by the number of the bridge. */
    subnet: subnet.optional(),
  })
  .prefault({});
