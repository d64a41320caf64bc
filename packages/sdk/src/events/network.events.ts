import { z } from 'zod';

const node = z.string().min(1);

/** What network addressing decides, in the stream `network`. */
export const networkEvents = {
  SubnetLeased: {
    doc: 'The guests of a node get their addresses from that subnet (CIDR).',
    schema: z.object({ node, subnet: z.string(), backend: z.record(z.string(), z.string()).default({}) }),
  },
  SubnetReleased: { doc: 'The subnet is free again.', schema: z.object({ node, subnet: z.string() }) },
  AddressAssigned: {
    doc: 'A service or an instance is reached at that address.',
    schema: z.object({ owner: z.string(), address: z.string() }),
  },
} as const;
