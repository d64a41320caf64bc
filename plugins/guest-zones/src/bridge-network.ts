import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { digest, findTool, runCommand } from '@cloudos/host-tools';
import { CloudosError, errorCode } from '@cloudos/sdk';

export interface Subnet {
  /** First address as a number. */
  readonly first: number;
  readonly prefix: number;
}

export interface BridgeConfig {
  /** Name of the bridge, at most 15 characters. Absent: the first free of `cloudos0`, `cloudos1`, …. */
  readonly bridge?: string | undefined;
  /** Absent: with the bridge's number n, the n-th /24 of 198.18.0.0/15 (RFC 2544: never a real destination). */
  readonly subnet?: string | undefined;
}

interface Chosen {
  readonly bridge: string;
  readonly subnet: string;
}

/** As many nodes of one machine find a bridge of their own. */
const bridgesMax = 512;
const unreachableMetric = 4_294_967_295;

/**
 * The bridge of a node and the addresses of its zones. The host has the first address of the subnet, the zones the
 * others. An unreachable route of lower priority keeps packets to addresses that are gone on the host.
 */
export class BridgeNetwork {
  readonly #dataDir: string;
  readonly #config: BridgeConfig;
  readonly #alias: string;
  #chosen: Chosen | undefined;
  #last = 1;
  #ensuring: Promise<void> | undefined;

  constructor(dataDir: string, config: BridgeConfig) {
    this.#dataDir = dataDir;
    this.#config = config;
    this.#alias = `cloudos ${digest(dataDir, 16)}`;
  }

  get #file(): string {
    return join(this.#dataDir, 'network.json');
  }

  get bridge(): string {
    return this.#chosen?.bridge ?? '';
  }

  get prefix(): number {
    return parseSubnet(this.#chosen?.subnet ?? '').prefix;
  }

  /** Makes the bridge unless it is there. Calls at the same time are one. */
  ensure(): Promise<void> {
    this.#ensuring ??= this.#ensure().finally(() => {
      this.#ensuring = undefined;
    });
    return this.#ensuring;
  }

  async #ensure(): Promise<void> {
    if (this.#chosen && existsSync(`/sys/class/net/${this.#chosen.bridge}`)) return;
    const saved = await this.#saved();
    for (const candidate of this.#candidates(saved)) {
      const owner = aliasOf(candidate.bridge);
      // The alias is set last. Without one, the bridge is ours only if we wrote down that we were about to make it.
      const isHalfMade = owner === '' && saved?.bridge === candidate.bridge;
      if (owner !== undefined && owner !== this.#alias && !isHalfMade) continue;
      if (owner !== this.#alias) {
        await writeFile(`${this.#file}.tmp`, JSON.stringify(candidate));
        await rename(`${this.#file}.tmp`, this.#file);
        if (!(await this.#make(candidate, isHalfMade))) continue;
      }
      this.#chosen = candidate;
      return;
    }
    throw new CloudosError(
      'RUNTIME_UNAVAILABLE',
      `the bridge ${this.#config.bridge ?? `cloudos0 to cloudos${bridgesMax - 1}`} belongs to another data directory`,
      { remedy: 'configure another bridge and subnet, or remove the bridge: ip link delete <bridge>' },
    );
  }

  *#candidates(saved: Chosen | undefined): Generator<Chosen> {
    const { bridge, subnet } = this.#config;
    if (bridge !== undefined || subnet !== undefined) {
      yield { bridge: bridge ?? 'cloudos0', subnet: subnet ?? subnetOf(0) };
      return;
    }
    if (saved) yield saved;
    for (let n = 0; n < bridgesMax; n++) yield { bridge: `cloudos${n}`, subnet: subnetOf(n) };
  }

  /** False when somebody else was faster. */
  async #make({ bridge, subnet }: Chosen, isHalfMade: boolean): Promise<boolean> {
    const { first, prefix } = parseSubnet(subnet);
    const lines = [
      ...(isHalfMade ? [] : [`link add name ${bridge} type bridge forward_delay 0`]),
      `address replace ${formatAddress(first + 1)}/${prefix} dev ${bridge}`,
      `link set dev ${bridge} up`,
      // Lower in priority than the bridge's own route: it matters when the bridge is down or gone.
      `route replace unreachable ${subnet} metric ${unreachableMetric}`,
      `link set dev ${bridge} alias "${this.#alias}"`,
    ];
    try {
      await runCommand(ip(), ['-batch', '-'], { input: `${lines.join('\n')}\n` });
    } catch (error) {
      if (/File exists/.test(String(error)) && aliasOf(bridge) !== this.#alias) return false;
      throw error;
    }
    return true;
  }

  /**
   * Claims an address for a zone; the preferred one if it is free. A claim is a file that only one can create, so it
   * holds over crashes and between two generations of the driver.
   */
  async claim(zone: string, preferred: string | undefined): Promise<string> {
    const { first, prefix } = parseSubnet(this.#chosen?.subnet ?? '');
    const size = 2 ** (32 - prefix);
    const usable = (offset: number) => offset > 1 && offset < size - 1;
    await mkdir(this.#claims, { recursive: true });
    if (preferred !== undefined && usable(parseAddress(preferred) - first)) {
      if (this.#ownerOf(preferred) === zone || (await this.#tryClaim(preferred, zone))) return preferred;
    }
    const taken = new Set(await readdir(this.#claims));
    // Goes on where the last search ended, so that an address is not given again at once.
    for (let step = 1; step <= size; step++) {
      const offset = (this.#last + step) % size;
      const address = formatAddress(first + offset);
      if (!usable(offset) || taken.has(address) || !(await this.#tryClaim(address, zone))) continue;
      this.#last = offset;
      return address;
    }
    throw new CloudosError('ADDRESSES_EXHAUSTED', `all ${size - 3} addresses of ${this.#chosen?.subnet} are taken`, {
      remedy: 'remove guests, or configure a larger subnet',
    });
  }

  async release(address: string | undefined, zone: string): Promise<void> {
    if (address !== undefined && this.#ownerOf(address) === zone) {
      await rm(join(this.#claims, address), { force: true });
    }
  }

  /** Releases what was claimed for zones that are not there any more. */
  async sweep(zones: ReadonlySet<string>): Promise<void> {
    for (const address of await readdir(this.#claims).catch(() => [])) {
      const owner = this.#ownerOf(address);
      if (owner !== undefined && !zones.has(owner)) await this.release(address, owner);
    }
  }

  get #claims(): string {
    return join(this.#dataDir, 'addresses');
  }

  #ownerOf(address: string): string | undefined {
    try {
      return readFileSync(join(this.#claims, address), 'utf8');
    } catch {
      return undefined;
    }
  }

  async #tryClaim(address: string, zone: string): Promise<boolean> {
    try {
      await writeFile(join(this.#claims, address), zone, { flag: 'wx' });
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
      throw error;
    }
  }

  /** Removes a zone's cable; absent already is fine. */
  async unplug(link: string): Promise<void> {
    if (!existsSync(`/sys/class/net/${link}`)) return;
    await runCommand(ip(), ['link', 'delete', link]).catch((error: unknown) => {
      if (errorCode(error) !== 'HOST_COMMAND_FAILED' || existsSync(`/sys/class/net/${link}`)) throw error;
    });
  }

  /** Removes the bridge, the route and the record of them. */
  async remove(): Promise<void> {
    const chosen = this.#chosen ?? (await this.#saved());
    this.#chosen = undefined;
    await rm(this.#file, { force: true });
    await rm(this.#claims, { recursive: true, force: true });
    const owner = chosen && aliasOf(chosen.bridge);
    if (!chosen || (owner !== this.#alias && owner !== '')) return;
    await runCommand(ip(), ['link', 'delete', chosen.bridge]);
    await runCommand(ip(), [
      'route',
      'delete',
      'unreachable',
      chosen.subnet,
      'metric',
      String(unreachableMetric),
    ]).catch(() => {});
  }

  async #saved(): Promise<Chosen | undefined> {
    try {
      return JSON.parse(await readFile(this.#file, 'utf8')) as Chosen;
    } catch {
      return undefined;
    }
  }
}

function ip(): string {
  return findTool('ip') ?? 'ip';
}

function aliasOf(bridge: string): string | undefined {
  try {
    if (!readdirSync('/sys/class/net').includes(bridge)) return undefined;
    return readFileSync(`/sys/class/net/${bridge}/ifalias`, 'utf8').trim();
  } catch {
    return undefined;
  }
}

function subnetOf(n: number): string {
  return `198.${18 + (n >> 8)}.${n & 255}.0/24`;
}

/** @throws Error when it is not an IPv4 subnet with 8 to 30 bits of prefix and no bits of a host set */
export function parseSubnet(text: string): Subnet {
  const match = /^(\d+\.\d+\.\d+\.\d+)\/(\d+)$/.exec(text);
  const prefix = Number(match?.[2]);
  const first = parseAddress(match?.[1] ?? '');
  if (!Number.isInteger(first) || !(prefix >= 8 && prefix <= 29) || first % 2 ** (32 - prefix) !== 0) {
    throw new Error(`${text} is not an IPv4 subnet such as 198.18.0.0/24 (prefix 8 to 29, no host bits)`);
  }
  return { first, prefix };
}

function parseAddress(text: string): number {
  const parts = text.split('.').map(Number);
  if (parts.length !== 4 || parts.some((part) => !Number.isInteger(part) || part < 0 || part > 255)) return Number.NaN;
  return parts.reduce((sum, part) => sum * 256 + part, 0);
}

function formatAddress(value: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join('.');
}
