import { z } from 'zod';

const slot = z.string().min(1);
const plugin = z.string().min(1);
const generation = z.int().positive();

/** What the kernel records, in the stream `kernel`. */
export const kernelEvents = {
  StackAssembled: {
    doc: 'A stack file was read and its plugins were found. `digest` identifies the file; swaps made since an equal digest stay in force.',
    schema: z.object({
      stack: z.string(),
      digest: z.string(),
      plugins: z.array(z.object({ slot, plugin, version: z.string(), node: z.string().optional() })),
    }),
  },
  PluginActivated: {
    doc: 'A plugin provides its slot from now on.',
    schema: z.object({ slot, plugin, version: z.string(), generation, node: z.string().optional() }),
  },
  PluginFailed: {
    doc: 'A plugin threw or did not answer. `restartAt` (epoch ms) says when it is tried again; absent: not any more.',
    schema: z.object({
      slot,
      plugin,
      generation,
      node: z.string().optional(),
      code: z.string(),
      reason: z.string(),
      attempt: z.int().nonnegative(),
      restartAt: z.number().optional(),
    }),
  },
  SwapStarted: {
    doc: 'A successor is catching up with the log; its predecessor is still in charge.',
    schema: z.object({ slot, from: plugin, to: plugin, generation, node: z.string().optional() }),
  },
  SwapCompleted: {
    doc: 'The successor is level with the log at `level` and in charge. `config` is what a restart gives it.',
    schema: z.object({
      slot,
      from: plugin,
      to: plugin,
      generation,
      level: z.int(),
      node: z.string().optional(),
      /** How a restart finds the successor again: package name or path. */
      reference: z.string().optional(),
      config: z.unknown().optional(),
    }),
  },
  SwapAborted: {
    doc: 'The successor failed before it took over; the predecessor stays in charge.',
    schema: z.object({
      slot,
      from: plugin,
      to: plugin,
      generation,
      code: z.string(),
      reason: z.string(),
      node: z.string().optional(),
    }),
  },
  StreamClaimed: {
    doc: 'A writer took over this stream (any decision or node stream). Its append moves the revision on, so that the append of a predecessor fails on the fence.',
    schema: z.object({ plugin, generation }),
  },
  NodeLost: {
    doc: 'The node does not answer any more. Its guests count as lost.',
    schema: z.object({ node: z.string(), reason: z.string() }),
  },
} as const;
