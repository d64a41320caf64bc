/** Bytes of one arena; a block that does not fit is allocated by itself. */
const arenaBytes = 1024 * 1024;
/** Arenas that are kept for reuse while nothing is in them. */
const sparesMax = 8;

/** A piece of memory that blocks lie in. */
export interface Arena {
  readonly memory: Buffer;
  used: number;
  /** Blocks in it that somebody may still read. */
  blocks: number;
}

/** Where a block lies. */
export interface BlockMemory {
  readonly bytes: Buffer;
  readonly arena: Arena | undefined;
}

/**
 * Memory for encoded blocks, one behind the other. The database writes them straight from here, on another thread, so a
 * block is given back only when it is stored.
 */
export class BlockSpace {
  #current: Arena = newArena();
  readonly #spares: Arena[] = [];

  take(bytes: number): BlockMemory {
    if (bytes > arenaBytes) return { bytes: Buffer.allocUnsafeSlow(bytes), arena: undefined };
    if (this.#current.used + bytes > arenaBytes) {
      const full = this.#current;
      this.#current = this.#spares.pop() ?? newArena();
      if (full.blocks === 0) this.#spare(full);
    }
    const arena = this.#current;
    const start = arena.used;
    arena.used += bytes;
    arena.blocks++;
    return { bytes: arena.memory.subarray(start, arena.used), arena };
  }

  /** Nobody reads the block any more. */
  release(arena: Arena | undefined): void {
    if (!arena) return;
    if (arena.blocks === 0) throw new Error('a block was given back that was not taken: its memory may be in use');
    if (--arena.blocks > 0) return;
    if (arena === this.#current) arena.used = 0;
    else this.#spare(arena);
  }

  #spare(arena: Arena): void {
    arena.used = 0;
    if (this.#spares.length < sparesMax) this.#spares.push(arena);
  }
}

function newArena(): Arena {
  return { memory: Buffer.allocUnsafeSlow(arenaBytes), used: 0, blocks: 0 };
}
