import { inside, type VmNetworkState } from '@cloudos/qemu';
import { CloudosError } from '@cloudos/sdk';

/** The longest command line that a kernel is given: what QEMU and the boot protocol pass without trouble. */
export const commandLineMaxBytes = 2_048;

export interface CommandLineParts {
  readonly words: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly network: VmNetworkState | undefined;
  readonly hostName: string;
  readonly workingDir: string;
}

/** Appended to the words of the command, unless the image says otherwise. */
export const defaultArguments = 'ip={ip}/{prefix} gw={gateway} host={hostname} cwd={cwd} {env}';

/**
 * The command line of a unikernel: the words of its command, then what it is told about itself. What would end a word is
 * encoded as in a URL (`%20`).
 * @param template placeholders: `{ip}`, `{prefix}`, `{gateway}`, `{mac}`, `{hostname}`, `{cwd}`, and `{env}` for
 *   `env.NAME=value` of each variable
 */
export function commandLine(parts: CommandLineParts, template = defaultArguments): string {
  const network = parts.network && inside(parts.network);
  const values: Readonly<Record<string, string>> = {
    ip: network?.address ?? '0.0.0.0',
    prefix: String(network?.prefix ?? 0),
    gateway: network?.gateway ?? '0.0.0.0',
    mac: network?.mac ?? '',
    hostname: encodeWord(parts.hostName),
    cwd: encodeWord(parts.workingDir),
    env: Object.entries(parts.env)
      .map(([name, value]) => `env.${encodeWord(name)}=${encodeWord(value)}`)
      .join(' '),
  };
  const told = template.replace(/\{(\w+)\}/g, (whole, name: string) => values[name] ?? whole);
  return [...parts.words.map(encodeWord), told].join(' ').trim();
}

/** The longest that QEMU takes from a file: a line of 1,023 characters with what stands before it. */
const fileLineMaxBytes = 1_000;

/**
 * A file that QEMU takes the command line from (`-readconfig`). It knows no escapes: quotes are encoded as in a URL.
 * @throws CloudosError GUEST_SPEC_INVALID when it is too long
 */
export function commandLineConfig(instance: string, line: string): string {
  const quoted = line.replaceAll('"', '%22');
  if (quoted.length <= fileLineMaxBytes) return `[machine]\n  append = "${quoted}"\n`;
  const what = `command and variables make a command line of ${quoted.length} bytes, at most ${fileLineMaxBytes} with secrets`;
  throw new CloudosError('GUEST_SPEC_INVALID', `${instance}: ${what}`);
}

/** White space, control characters, `%` and what is not ASCII as `%` and two hexadecimal digits a byte. */
export function encodeWord(word: string): string {
  return [...Buffer.from(word)]
    .map((byte) =>
      byte <= 0x20 || byte >= 0x7f || byte === 0x25
        ? `%${byte.toString(16).padStart(2, '0')}`
        : String.fromCharCode(byte),
    )
    .join('');
}
