import { closeSync, existsSync, fstatSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { readAcknowledged } from './acknowledged.ts';
import { positionOfKey } from './keys.ts';
import { corrupt } from './store.ts';
import { isHeld } from './writer-lock.ts';

/**
 * The layout of an LMDB data file, version 2 (`MDB_page`, `MDB_meta`, `MDB_db`, `MDB_node` and `MDB_ovpage` of
 * liblmdb's mdb.c): little-endian, page header 24 bytes, offsets of nodes counted from its end.
 */
const pageHeader = 24;
const nodeHeader = 8;
const flags = { branch: 1, leaf: 2, overflow: 4, meta: 8, bigData: 1 } as const;
const magic = 0xbeefc0de;
const dataVersion = 2;
const depthMax = 16;
const noPage = 2 ** 53;
/** How often a file is looked at again that a living writer may have changed meanwhile. */
const attemptsMax = 3;

/**
 * Walks the trees of the database with plain reads before LMDB maps the file: LMDB trusts page numbers and offsets, and
 * a damaged one makes it crash the process. Looks at every page that holds keys, and that pages of values lie within the
 * file; the values have checksums of their own, checked when they are read.
 * While another process writes the log the file changes under the walk; what it finds then proves nothing and is let be.
 * @returns bytes of the pages within the file that are free
 * @throws CloudosError LOG_CORRUPT naming the first position whose block cannot be reached
 */
export function checkPages(directory: string): number {
  const path = join(directory, 'data.mdb');
  if (!existsSync(path)) {
    const acknowledged = readAcknowledged(directory);
    if (acknowledged >= 0)
      throw corrupt(0, `data.mdb is missing, events up to position ${acknowledged} were acknowledged`);
    return 0;
  }
  for (let attempt = 1; ; attempt++) {
    const fd = openSync(path, 'r');
    try {
      const size = fstatSync(fd).size;
      // A first commit that never came about.
      if (size === 0 && readAcknowledged(directory) < 0) return 0;
      return new PageWalk(fd, size).run();
    } catch (error) {
      if (!isHeldByOther(directory)) throw error;
      if (attempt >= attemptsMax) return 0;
    } finally {
      closeSync(fd);
    }
  }
}

/** The lock is taken before the check, so that a writer does not meet itself here. */
function isHeldByOther(directory: string): boolean {
  return isHeld(directory, process.pid);
}

interface Tree {
  readonly depth: number;
  readonly branches: number;
  readonly leaves: number;
  readonly overflows: number;
  readonly entries: number;
  readonly root: number;
}

function pagesOf({ branches, leaves, overflows }: Tree): number {
  return branches + leaves + overflows;
}

interface Meta {
  readonly pageBytes: number;
  readonly free: Tree;
  readonly main: Tree;
  readonly lastPage: number;
  readonly transaction: number;
}

class PageWalk {
  readonly #fd: number;
  readonly #size: number;
  #meta!: Meta;
  #counts = { branches: 0, leaves: 0, overflows: 0, entries: 0 };
  /** One bit a page: pages that something refers to. */
  #used = new Uint8Array(0);
  /** First position after the blocks that were reached. */
  #next = 0;
  #lastKey: Buffer = Buffer.alloc(0);
  #page = Buffer.allocUnsafe(0);
  /** What the next key must not be less than. */
  #separator: Buffer | undefined;

  constructor(fd: number, size: number) {
    this.#fd = fd;
    this.#size = size;
  }

  /** @returns bytes of free pages */
  run(): number {
    this.#meta = this.#newestMeta();
    this.#used = new Uint8Array(Math.ceil((this.#meta.lastPage + 1) / 8));
    this.#walk(this.#meta.main, (key) => this.#mainKey(key));
    // The free list decides what is overwritten next: a page in use must not be on it.
    this.#lastKey = Buffer.alloc(0);
    this.#walk(this.#meta.free, undefined, (list) => this.#freePages(list));
    const { free, main, lastPage, pageBytes } = this.#meta;
    return Math.max(0, lastPage - 1 - pagesOf(main) - pagesOf(free)) * pageBytes;
  }

  #newestMeta(): Meta {
    const head = this.#read(0, Math.min(this.#size, 65536 * 2));
    const first = readMeta(head, 0);
    const pageBytes = first?.pageBytes ?? guessPageBytes(head);
    const second = pageBytes ? readMeta(head, pageBytes) : undefined;
    if (!first || !second) throw corrupt(0, `root page ${first ? 1 : 0} of the database is damaged`);
    if (second.pageBytes !== first.pageBytes) throw corrupt(0, 'the root pages of the database differ in page size');
    const newest = first.transaction > second.transaction ? first : second;
    if (newest.lastPage > this.#size / newest.pageBytes + 2 ** 20) {
      throw corrupt(0, `the root page counts ${newest.lastPage} pages, the file has ${this.#size} bytes`);
    }
    return newest;
  }

  #mainKey(key: Buffer): void {
    const position = positionOfKey(key);
    if (Number.isNaN(position)) return;
    this.#next = position;
  }

  #freePages(list: Buffer): void {
    const count = list.length < 8 ? -1 : readNumber(list, 0);
    // The list may hold fewer entries than it has room for, and runs of pages as negative lengths.
    if (count < 0 || (count + 1) * 8 > list.length) this.#damaged('the list of free pages is damaged');
    for (let index = 1; index <= count; index++) {
      const signed = list.readBigInt64LE(index * 8);
      if (signed <= 0n) continue;
      const page = Number(signed);
      if (page > this.#meta.lastPage || this.#isUsed(page)) this.#damaged(`page ${page} is free and in use`);
    }
  }

  #walk(tree: Tree, onKey?: (key: Buffer) => void, onValue?: (value: Buffer) => void): void {
    this.#counts = { branches: 0, leaves: 0, overflows: 0, entries: 0 };
    if (tree.root >= noPage) {
      if (tree.entries !== 0) this.#damaged('a tree without root has entries');
      return;
    }
    if (tree.depth < 1 || tree.depth > depthMax) this.#damaged(`a tree has depth ${tree.depth}`);
    this.#walkPage(tree.root, tree.depth, onKey, onValue);
    for (const what of ['branches', 'leaves', 'overflows', 'entries'] as const) {
      if (this.#counts[what] === tree[what]) continue;
      this.#damaged(`a tree has ${this.#counts[what]} ${what}, its root counts ${tree[what]}`);
    }
  }

  #walkPage(number: number, depth: number, onKey?: (key: Buffer) => void, onValue?: (value: Buffer) => void): void {
    const page = Buffer.from(this.#claimPage(number));
    const isLeaf = depth === 1;
    const expected = isLeaf ? flags.leaf : flags.branch;
    if (page.readUInt16LE(18) !== expected || page.readUInt16LE(16) !== 0) {
      this.#damaged(`page ${number} is no ${isLeaf ? 'leaf' : 'branch'} page`);
    }
    const lower = page.readUInt16LE(20);
    const upper = page.readUInt16LE(22);
    if (lower % 2 !== 0 || lower > upper || upper + pageHeader > page.length) {
      this.#damaged(`page ${number} has its bounds at ${lower} and ${upper}`);
    }
    const count = lower / 2;
    if (count < (isLeaf ? 1 : 2)) this.#damaged(`page ${number} holds ${count} keys`);
    this.#counts[isLeaf ? 'leaves' : 'branches']++;
    for (let index = 0; index < count; index++) {
      const node = page.readUInt16LE(pageHeader + index * 2) + pageHeader;
      if (node % 2 !== 0 || node < upper + pageHeader || node + nodeHeader > page.length) {
        this.#damaged(`page ${number} has a node at ${node}`);
      }
      if (isLeaf) this.#leafNode(page, node, number, onKey, onValue);
      else this.#branchNode(page, node, depth, index, onKey, onValue);
    }
  }

  #branchNode(
    page: Buffer,
    node: number,
    depth: number,
    index: number,
    onKey?: (key: Buffer) => void,
    onValue?: (value: Buffer) => void,
  ): void {
    const keyBytes = page.readUInt16LE(node + 6);
    const end = node + nodeHeader + keyBytes;
    if (end > page.length) this.#damaged(`a key of ${keyBytes} bytes leaves its page`);
    const key = page.subarray(node + nodeHeader, end);
    // Keys of a branch part its children: all before are less, all behind are not. The first is never looked at.
    if (index > 0 && !onValue && Buffer.compare(key, this.#lastKey) <= 0)
      this.#damaged('keys of a branch are out of order');
    const child =
      page.readUInt16LE(node) + page.readUInt16LE(node + 2) * 2 ** 16 + page.readUInt16LE(node + 4) * 2 ** 32;
    const before = this.#lastKey;
    this.#separator = index > 0 && !onValue ? key : undefined;
    this.#walkPage(child, depth - 1, onKey, onValue);
    if (this.#lastKey === before) this.#damaged('a branch has an empty child');
  }

  #leafNode(
    page: Buffer,
    node: number,
    number: number,
    onKey?: (key: Buffer) => void,
    onValue?: (value: Buffer) => void,
  ): void {
    const dataBytes = page.readUInt16LE(node) + page.readUInt16LE(node + 2) * 2 ** 16;
    const nodeFlags = page.readUInt16LE(node + 4);
    const keyAt = node + nodeHeader;
    const dataAt = keyAt + page.readUInt16LE(node + 6);
    const isBig = nodeFlags === flags.bigData;
    if ((nodeFlags !== 0 && !isBig) || dataAt + (isBig ? 24 : dataBytes) > page.length || dataAt === keyAt) {
      this.#damaged(`a node of page ${number} leaves the page`);
    }
    const key = page.subarray(keyAt, dataAt);
    if (!onValue) {
      if (this.#lastKey.length > 0 && Buffer.compare(key, this.#lastKey) <= 0) this.#damaged('keys are out of order');
      if (this.#separator && Buffer.compare(key, this.#separator) < 0) this.#damaged('a key is in the wrong branch');
      this.#separator = undefined;
    }
    this.#lastKey = key;
    this.#counts.entries++;
    onKey?.(key);
    const value = isBig
      ? this.#bigValue(page, dataAt, dataBytes, !!onValue)
      : page.subarray(dataAt, dataAt + dataBytes);
    if (onValue && value) onValue(value);
  }

  #bigValue(page: Buffer, dataAt: number, dataBytes: number, read: boolean): Buffer | undefined {
    const first = readNumber(page, dataAt);
    const pages = readNumber(page, dataAt + 16);
    const { pageBytes, lastPage } = this.#meta;
    if (pages !== Math.ceil((dataBytes + pageHeader) / pageBytes) || first + pages - 1 > lastPage) {
      this.#damaged(`a value of ${dataBytes} bytes has ${pages} pages from page ${first} on`);
    }
    if ((first + pages) * pageBytes > this.#size)
      this.#damaged(`page ${first + pages - 1} lies past the end of the file`);
    const header = this.#claimPage(first);
    if (header.readUInt16LE(18) !== flags.overflow || header.readUInt32LE(20) !== pages) {
      this.#damaged(`page ${first} does not begin a value of ${pages} pages`);
    }
    for (let number = first + 1; number < first + pages; number++) this.#use(number);
    this.#counts.overflows += pages;
    return read ? this.#read(first * pageBytes + pageHeader, dataBytes) : undefined;
  }

  /** Reads a page that nothing referred to before. */
  #claimPage(number: number): Buffer {
    const { pageBytes, lastPage } = this.#meta;
    if (number < 2 || number > lastPage) this.#damaged(`there is no page ${number}`);
    if ((number + 1) * pageBytes > this.#size) this.#damaged(`page ${number} lies past the end of the file`);
    this.#use(number);
    if (this.#page.length !== pageBytes) this.#page = Buffer.allocUnsafe(pageBytes);
    readSync(this.#fd, this.#page, 0, pageBytes, number * pageBytes);
    if (readNumber(this.#page, 0) !== number) this.#damaged(`page ${number} says that it is another`);
    return this.#page;
  }

  #use(number: number): void {
    if (this.#isUsed(number)) this.#damaged(`page ${number} is used twice`);
    this.#used[number >> 3]! |= 1 << (number & 7);
  }

  #isUsed(number: number): boolean {
    return (this.#used[number >> 3]! & (1 << (number & 7))) !== 0;
  }

  #read(at: number, bytes: number): Buffer {
    const buffer = Buffer.alloc(bytes);
    readSync(this.#fd, buffer, 0, bytes, at);
    return buffer;
  }

  #damaged(what: string): never {
    throw corrupt(this.#next, `the database file is damaged behind the block that begins there: ${what}`);
  }
}

function readMeta(file: Buffer, at: number): Meta | undefined {
  if (file.length < at + 168) return undefined;
  const meta = file.subarray(at + pageHeader);
  if ((file.readUInt16LE(at + 18) & flags.meta) === 0) return undefined;
  if (meta.readUInt32LE(0) !== magic || meta.readUInt32LE(4) !== dataVersion) return undefined;
  const pageBytes = meta.readUInt32LE(24);
  if (pageBytes < 256 || pageBytes > 65536 || (pageBytes & (pageBytes - 1)) !== 0) return undefined;
  if (readNumber(meta, 8) !== 0) return undefined;
  return {
    pageBytes,
    free: readTree(meta, 24),
    main: readTree(meta, 72),
    lastPage: readNumber(meta, 120),
    transaction: readNumber(meta, 128),
  };
}

function guessPageBytes(file: Buffer): number | undefined {
  for (let bytes = 512; bytes <= 65536; bytes *= 2) if (readMeta(file, bytes)?.pageBytes === bytes) return bytes;
  return undefined;
}

function readTree(meta: Buffer, at: number): Tree {
  return {
    depth: meta.readUInt16LE(at + 6),
    branches: readNumber(meta, at + 8),
    leaves: readNumber(meta, at + 16),
    overflows: readNumber(meta, at + 24),
    entries: readNumber(meta, at + 32),
    root: readNumber(meta, at + 40),
  };
}

function readNumber(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 2 ** 32;
}
