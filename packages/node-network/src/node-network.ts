import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { digest, findTool, runCommand, until, withFileLock } from '@cloudos/host-tools';
import { CloudosError, errorCode } from '@cloudos/sdk';
import { AddressClaims } from './address-claims.ts';
import { benchmarkSubnet, formatAddress, macOf, parseSubnet } from './subnet.ts';

export interface NodeNetworkOptions {
  /** The state directory of the kernel. */
  readonly stateDir: string;
  readonly node: string;
  /** Name of the bridge, at most 15 characters. Absent: the first free of `cloudos0`, `cloudos1`, …. */
  readonly bridge?: string | undefined;
  /** Absent: with the bridge's number n, the n-th /24 of 198.18.0.0/15 (RFC 2544: never a real destination). */
  readonly subnet?: string | undefined;
}

/** The bridge as it is now, for runtimes that plug their guests in themselves. */
export interface NodeBridge {
  readonly name: string;
  readonly subnet: string;
  readonly prefix: number;
  /** The host's address on the bridge. */
  readonly gateway: string;
  /** Who answers names for guests. Empty: nobody; guests get an empty resolv.conf. */
  readonly nameservers: readonly string[];
  readonly mtu: number;
}

/** Where a guest is plugged in. */
export interface Plug {
  /** Name of the host's end, at most 15 characters. */
  readonly link: string;
}

interface Chosen {
  readonly bridge: string;
  readonly subnet: string;
}

/** As many nodes of one machine find a bridge of their own. */
const bridgesMax = 512;
const unreachableMetric = 4_294_967_295;
const mtu = 1500;
/** How long a cable may take to send what it is given. */
const sendingMaxMs = 1_000;

/**
 * The network of a node: one bridge that the guests of all its runtimes share, and who has which address on it. The host
 * has the first address of the subnet, guests the others. An unreachable route of lower priority keeps packets to
 * addresses that are gone on the host. Several processes may work on it at once: what is written down is in
 * `<stateDir>/network/<node>`, and claims are files that only one can create.
 *
 * A guest is named by its owner, `<runtime> <name of the guest at the runtime>`.
 */
export class NodeNetwork {
  readonly #directory: string;
  readonly #options: NodeNetworkOptions;
  readonly #alias: string;
  readonly #claims: AddressClaims;
  #chosen: Chosen | undefined;
  #ensuring: Promise<NodeBridge> | undefined;

  constructor(options: NodeNetworkOptions) {
    this.#options = options;
    this.#directory = join(options.stateDir, 'network', options.node);
    this.#alias = `cloudos ${digest(this.#directory, 16)}`;
    this.#claims = new AddressClaims(join(this.#directory, 'addresses'));
  }

  /** Why there can be no bridge here; undefined when there can. Runtimes forward ports then. */
  static obstacle(): { readonly reason: string; readonly remedy: string } | undefined {
    if (process.platform !== 'linux') return { reason: 'a bridge needs Linux', remedy: 'run on Linux' };
    if (process.geteuid?.() !== 0) return { reason: 'a bridge needs root', remedy: 'run as root' };
    if (!findTool('ip')) return { reason: 'a bridge needs the tool ip', remedy: 'apt-get install iproute2' };
    return undefined;
  }

  /** Where the network is written down. */
  get directory(): string {
    return this.#directory;
  }

  /** Name of the bridge; undefined while no guest of the node has needed one. */
  async bridge(): Promise<string | undefined> {
    return (await this.#saved())?.bridge;
  }

  get #file(): string {
    return join(this.#directory, 'network.json');
  }

  /** Makes the bridge unless it is there. Calls at the same time are one. @throws CloudosError RUNTIME_UNAVAILABLE */
  ensure(): Promise<NodeBridge> {
    this.#ensuring ??= this.#ensure().finally(() => {
      this.#ensuring = undefined;
    });
    return this.#ensuring;
  }

  async #ensure(): Promise<NodeBridge> {
    if (this.#chosen && aliasOf(this.#chosen.bridge) === this.#alias && existsSync(this.#file)) {
      return describe(this.#chosen);
    }
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    this.#chosen = await this.#locked(() => this.#choose());
    return describe(this.#chosen);
  }

  async #choose(): Promise<Chosen> {
    const saved = await this.#saved();
    for (const candidate of this.#candidates(saved)) {
      const owner = aliasOf(candidate.bridge);
      // The alias is set last. Without one, the bridge is ours only if we wrote down that we were about to make it.
      const isHalfMade = owner === '' && saved?.bridge === candidate.bridge;
      if (owner !== undefined && owner !== this.#alias && !isHalfMade) continue;
      if (owner !== this.#alias || saved?.bridge !== candidate.bridge) {
        await writeFile(`${this.#file}.tmp`, JSON.stringify(candidate));
        await rename(`${this.#file}.tmp`, this.#file);
      }
      if (owner !== this.#alias && !(await this.#make(candidate, isHalfMade))) continue;
      return candidate;
    }
    throw new CloudosError(
      'RUNTIME_UNAVAILABLE',
      `the bridge ${this.#options.bridge ?? `cloudos0 to cloudos${bridgesMax - 1}`} belongs to another node or state directory`,
      { remedy: 'configure another bridge and subnet, or remove the bridge: ip link delete <bridge>' },
    );
  }

  *#candidates(saved: Chosen | undefined): Generator<Chosen> {
    const { bridge, subnet } = this.#options;
    // What one runtime of the node has made serves all of them.
    if (saved && (bridge ?? saved.bridge) === saved.bridge && (subnet ?? saved.subnet) === saved.subnet) yield saved;
    if (bridge !== undefined || subnet !== undefined) {
      yield { bridge: bridge ?? 'cloudos0', subnet: subnet ?? benchmarkSubnet(0) };
      return;
    }
    for (let n = 0; n < bridgesMax; n++) yield { bridge: `cloudos${n}`, subnet: benchmarkSubnet(n) };
  }

  /** False when somebody else was faster. */
  async #make({ bridge, subnet }: Chosen, isHalfMade: boolean): Promise<boolean> {
    const { first, prefix } = parseSubnet(subnet);
    const gateway = formatAddress(first + 1);
    const lines = [
      // A bridge without an address of its own takes the lowest of its ports': guests would know it by one that it had.
      ...(isHalfMade ? [] : [`link add name ${bridge} address ${macOf(gateway)} type bridge forward_delay 0`]),
      `address replace ${gateway}/${prefix} dev ${bridge}`,
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
   * Claims an address for a guest: the one that it has, the preferred one if that is free, else a free one. The bridge
   * is there when it resolves, and stays as long as the claim does.
   * @throws CloudosError ADDRESSES_EXHAUSTED
   */
  async claim(owner: string, preferred?: string): Promise<string> {
    for (;;) {
      const { subnet } = await this.ensure();
      const address = await this.#claims.claim(subnet, owner, preferred);
      // A removal takes the file away first and looks for claims then: one of the two sees the other.
      if (existsSync(this.#file)) return address;
      await this.#claims.release(address, owner);
    }
  }

  /** Gives an address back. One that is not this guest's is left alone. */
  async release(owner: string, address: string | undefined): Promise<void> {
    await this.#claims.release(address, owner);
  }

  /** Releases what a runtime claimed for guests that are not there any more. */
  async sweep(runtime: string, guests: ReadonlySet<string>): Promise<void> {
    for (const [address, owner] of await this.#claims.all()) {
      if (owner.startsWith(`${runtime} `) && !guests.has(owner.slice(runtime.length + 1))) {
        await this.#claims.release(address, owner);
      }
    }
  }

  /** Who has which address: address → owner. */
  claims(): Promise<Map<string, string>> {
    return this.#claims.all();
  }

  /** A name for the host's end of a guest's cable: 12 characters (the kernel takes 15), told apart by node. */
  linkName(owner: string): string {
    return `cz${digest(`${this.#directory}\n${owner}`, 10)}`;
  }

  /**
   * Makes a tap interface on the bridge, for a virtual machine that opens it by name.
   * @param user the user that may open it beside root
   */
  async plugTap({ link }: Plug, user?: number): Promise<void> {
    const { name } = await this.ensure();
    const owner = user === undefined ? '' : ` user ${user}`;
    const lines = [`tuntap add dev ${link} mode tap${owner}`, `link set dev ${link} master ${name} up`];
    await runCommand(ip(), ['-batch', '-'], { input: `${lines.join('\n')}\n` });
  }

  /**
   * Makes a tap interface in the network namespace of a process, for a virtual machine in it, joined with the bridge by a
   * pair of interfaces. All of it goes away with the namespace.
   */
  async plugTapInto({ link }: Plug, pid: number, tap: { name: string; user?: number }): Promise<void> {
    const { name } = await this.ensure();
    const outside = `link add ${link} master ${name} up type veth peer name eth0 netns ${pid}\n`;
    await runCommand(ip(), ['-batch', '-'], { input: outside });
    const inside = [
      'link add br0 type bridge forward_delay 0 mcast_snooping 0',
      'link set eth0 master br0 up',
      `tuntap add dev ${tap.name} mode tap${tap.user === undefined ? '' : ` user ${tap.user}`}`,
      `link set ${tap.name} master br0 up`,
      'link set br0 up',
      'link set lo up',
    ];
    const enter = ['-t', String(pid), '-n', ip(), '-batch', '-'];
    await runCommand(findTool('nsenter') ?? 'nsenter', enter, { input: `${inside.join('\n')}\n` });
    await awaitSending(link);
    await awaitSending(name);
  }

  /** Removes a guest's cable or tap; absent already is fine. */
  async unplug(link: string): Promise<void> {
    if (!existsSync(`/sys/class/net/${link}`)) return;
    await runCommand(ip(), ['link', 'delete', link]).catch((error: unknown) => {
      if (errorCode(error) !== 'HOST_COMMAND_FAILED' || existsSync(`/sys/class/net/${link}`)) throw error;
    });
  }

  /**
   * Removes the bridge, the route and the record of them, unless a guest of any runtime has an address: false then. The
   * last runtime of a node to leave takes it away.
   */
  async remove(): Promise<boolean> {
    if (!existsSync(this.#directory)) return true;
    return this.#locked(async () => {
      const chosen = await this.#saved();
      this.#chosen = undefined;
      if (!chosen) return this.#forget();
      await rename(this.#file, `${this.#file}.removed`);
      if (!(await this.#claims.removeIfEmpty())) {
        await rename(`${this.#file}.removed`, this.#file);
        return false;
      }
      const owner = aliasOf(chosen.bridge);
      if (owner === this.#alias || owner === '') {
        await runCommand(ip(), ['link', 'delete', chosen.bridge]);
        const route = ['route', 'delete', 'unreachable', chosen.subnet, 'metric', String(unreachableMetric)];
        await runCommand(ip(), route).catch(() => {});
      }
      return this.#forget();
    });
  }

  async #forget(): Promise<boolean> {
    if (!(await this.#claims.removeIfEmpty())) return false;
    for (const name of ['network.json', 'network.json.tmp', 'network.json.removed']) {
      await rm(join(this.#directory, name), { force: true });
    }
    return true;
  }

  #locked<T>(operation: () => Promise<T>): Promise<T> {
    return withFileLock(join(this.#directory, 'lock'), operation);
  }

  async #saved(): Promise<Chosen | undefined> {
    for (const path of [this.#file, `${this.#file}.removed`]) {
      try {
        return JSON.parse(await readFile(path, 'utf8')) as Chosen;
      } catch {}
    }
    return undefined;
  }
}

function describe({ bridge, subnet }: Chosen): NodeBridge {
  const { first, prefix } = parseSubnet(subnet);
  return { name: bridge, subnet, prefix, gateway: formatAddress(first + 1), nameservers: [], mtu };
}

/**
 * An interface whose other end has just come up sends nothing, and counts nothing of what it drops, until the kernel gets
 * round to it: at once when somebody asks for its carrier (since Linux 6.8). Past the bound it is not waited for.
 */
async function awaitSending(link: string): Promise<void> {
  const read = (name: string) => readFile(`/sys/class/net/${link}/${name}`, 'utf8').catch(() => '');
  await until(sendingMaxMs, async () => {
    await read('carrier');
    return (await read('operstate')) === 'up\n';
  });
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
