/** How far an import is. `total` is absent where it is not known. */
export interface ImportProgress {
  readonly what: string;
  readonly doneBytes: number;
  readonly totalBytes?: number;
}

export interface ImportOptions {
  /** What the image shall be called. Absent: as the source calls it, or after the file or directory. */
  readonly reference?: string | undefined;
  /** The registry may speak plain HTTP, or have a certificate that nobody vouches for. Default: it may not. */
  readonly insecureRegistry?: boolean | undefined;
  readonly onProgress?: ((progress: ImportProgress) => void) | undefined;
  /** A kernel that starts a disk in the place of firmware and boot loader: paths of files, and its command line. */
  readonly boot?:
    | { readonly kernel: string; readonly initrd?: string | undefined; readonly commandLine?: string | undefined }
    | undefined;
  /** Machines may be copies of one that has booted from this disk. */
  readonly clonable?: boolean | undefined;
  /** How a root file system that says nothing about it is run. */
  readonly program?:
    | {
        readonly entrypoint?: readonly string[];
        readonly cmd?: readonly string[];
        readonly env?: Readonly<Record<string, string>>;
        readonly workingDir?: string;
        readonly user?: string;
      }
    | undefined;
}

/** Passes a stream of bytes on and tells how many went by. */
export async function* counted(
  source: AsyncIterable<Uint8Array>,
  what: string,
  totalBytes: number | undefined,
  onProgress: ImportOptions['onProgress'],
): AsyncGenerator<Uint8Array> {
  let doneBytes = 0;
  for await (const chunk of source) {
    yield chunk;
    doneBytes += chunk.length;
    onProgress?.({ what, doneBytes, ...(totalBytes === undefined ? {} : { totalBytes }) });
  }
}
