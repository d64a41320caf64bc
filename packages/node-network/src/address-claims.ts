import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { readdir, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { CloudosError } from '@cloudos/sdk';
import { formatAddress, parseAddress, parseSubnet } from './subnet.ts';

/**
 * Who has which address of a subnet. A claim is a file that only one can create, named after the address and with the
 * owner in it, so it holds over crashes, between the drivers of a node and between two generations of one.
 */
export class AddressClaims {
  readonly #directory: string;
  #last = 1;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /**
   * Claims an address for the owner: the one that it has, the preferred one if that is free, else a free one.
   * @throws CloudosError ADDRESSES_EXHAUSTED
   */
  async claim(subnet: string, owner: string, preferred: string | undefined): Promise<string> {
    const { first, prefix } = parseSubnet(subnet);
    const size = 2 ** (32 - prefix);
    const usable = (offset: number) => offset > 1 && offset < size - 1;
    mkdirSync(this.#directory, { recursive: true });
    if (preferred !== undefined && usable(parseAddress(preferred) - first)) {
      if (this.ownerOf(preferred) === owner || this.#tryClaim(preferred, owner)) return preferred;
    }
    const taken = new Set(readdirSync(this.#directory));
    for (const address of taken) if (this.ownerOf(address) === owner) return address;
    // Goes on where the last search ended, so that an address is not given again at once.
    for (let step = 1; step <= size; step++) {
      const offset = (this.#last + step) % size;
      const address = formatAddress(first + offset);
      if (!usable(offset) || taken.has(address) || !this.#tryClaim(address, owner)) continue;
      this.#last = offset;
      return address;
    }
    throw new CloudosError('ADDRESSES_EXHAUSTED', `all ${size - 3} addresses of ${subnet} are taken`, {
      remedy: 'remove guests, or configure a larger subnet',
    });
  }

  async release(address: string | undefined, owner: string): Promise<void> {
    if (address !== undefined && this.ownerOf(address) === owner) {
      rmSync(join(this.#directory, address), { force: true });
    }
  }

  /** Every claim: address → owner. */
  async all(): Promise<Map<string, string>> {
    const addresses = await readdir(this.#directory).catch(() => []);
    return new Map(addresses.map((address) => [address, this.ownerOf(address) ?? '']));
  }

  ownerOf(address: string): string | undefined {
    try {
      return readFileSync(join(this.#directory, address), 'utf8');
    } catch {
      return undefined;
    }
  }

  /** Removes the record where nothing is claimed. False when something is. */
  async removeIfEmpty(): Promise<boolean> {
    return rmdir(this.#directory).then(
      () => true,
      (error: NodeJS.ErrnoException) => error.code === 'ENOENT',
    );
  }

  #tryClaim(address: string, owner: string): boolean {
    try {
      writeFileSync(join(this.#directory, address), owner, { flag: 'wx' });
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
      throw error;
    }
  }
}
