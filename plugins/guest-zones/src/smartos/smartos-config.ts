import { isSubnet, parseAddress } from '@cloudos/node-network';
import { z } from 'zod';

const address = z.string().refine((text) => {
  try {
    return parseAddress(text) >= 0;
  } catch {
    return false;
  }
}, 'an IPv4 address');

const subnet = z.string().refine(isSubnet, 'an IPv4 subnet such as 10.88.0.0/24 (prefix 8 to 29, no host bits)');

/** What only SmartOS asks. */
export const smartosConfig = z.strictObject({
  /** UUIDs of installed images (imgadm list) by the references that workloads use; `host:` is one of them. */
  images: z.record(z.string(), z.uuid()).default({}),
  /** Absent: zones have no network. */
  network: z
    .strictObject({
      /** Tag of the network card of the machine (nictagadm(8)) or of an etherstub. */
      nicTag: z.string().min(1).max(31),
      /** Zones take addresses of it, the lowest that is free. It belongs to the zones of this node alone. */
      subnet,
      gateway: address.optional(),
      vlanId: z.int().min(0).max(4094).optional(),
    })
    .optional(),
  /** Version of Linux that lx zones show, where their image does not say. */
  kernelVersion: z
    .string()
    .regex(/^\d+\.\d+/, 'a version such as 4.3.0')
    .default('4.3.0'),
  /** How long vmadm may take for one thing. */
  commandTimeoutMs: z.int().min(1_000).max(3_600_000).default(300_000),
});
export type SmartosConfig = z.infer<typeof smartosConfig>;
