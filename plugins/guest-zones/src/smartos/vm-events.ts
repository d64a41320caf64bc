import { CloudosError } from '@cloudos/sdk';
import { z } from 'zod';
import type { HostCommands } from './host-commands.ts';
import { tools } from './vmadm.ts';

/** A line of `vmadm events -jr`. */
const vmEvent = z.object({
  type: z.string(),
  uuid: z.string().optional(),
  changes: z.array(z.object({ path: z.array(z.union([z.string(), z.number(), z.null()])) })).optional(),
});

/** The longest line that is taken: an event holds the whole object of its VM, that of `ready` all of them. */
const lineMaxBytes = 64 * 2 ** 20;

/** Properties whose change may mean that the program of a zone has ended. */
const telling: ReadonlySet<unknown> = new Set(['state', 'zone_state', 'exit_status', 'exit_timestamp']);

/**
 * Listens to what happens to VMs until the signal. Resolves when SmartOS says that it tells of everything from now on.
 * @param changed called for each VM that was removed, or whose state is another one
 * @param lost called when it is told no more
 */
export function listenToVms(
  commands: HostCommands,
  signal: AbortSignal,
  changed: (uuid: string) => void,
  lost: (error: unknown) => void,
): Promise<void> {
  const argv = [tools.vmadm, 'events', '-jr'];
  const process = commands.open(argv);
  const stop = () => process.kill();
  signal.addEventListener('abort', stop, { once: true });
  return new Promise((resolve, reject) => {
    let rest = '';
    let said = '';
    const end = (error: unknown) => {
      stop();
      reject(error);
      lost(error);
    };
    process.onOutput(({ stream, data }) => {
      const text = Buffer.from(data).toString();
      if (stream === 'stderr') {
        said = `${said}${text}`.slice(-2_000);
        return;
      }
      const lines = `${rest}${text}`.split('\n');
      rest = lines.pop() ?? '';
      if (rest.length > lineMaxBytes)
        end(new CloudosError('HOST_COMMAND_FAILED', `${argv.join(' ')}: a line without end`));
      for (const line of lines) {
        const event = read(line);
        if (event?.type === 'ready') resolve();
        else if (event?.uuid !== undefined && isTelling(event)) changed(event.uuid);
      }
    });
    void process.ended.then((code) => {
      signal.removeEventListener('abort', stop);
      end(new CloudosError('HOST_COMMAND_FAILED', `${argv.join(' ')} ended with ${code}: ${said.trim() || 'nothing'}`));
    });
  });
}

type VmEvent = z.infer<typeof vmEvent>;

function isTelling({ type, changes }: VmEvent): boolean {
  return type !== 'modify' || (changes ?? []).some(({ path }) => telling.has(path[0]));
}

/** What is not an event is no reason to stop listening: a look at all guests follows every lost connection. */
function read(line: string): VmEvent | undefined {
  try {
    return vmEvent.safeParse(JSON.parse(line)).data;
  } catch {
    return undefined;
  }
}
