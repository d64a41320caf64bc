const loggerBlock = 4096;

/**
 * A function of sh, `logger <file> <blocks>`: copies standard input into `<file>` until it ends, keeping `<file>` and
 * `<file>.1` at `maxBytes` each, then makes `<file>.end`. dd(1) reads whatever there is, block by block, so that nothing
 * waits in a buffer and nobody is held up; a full disk costs the log and not the guest.
 *
 * The working directory is that of the files. `<blocks>` is {@link logBlocks} of what the file holds already.
 */
export function loggerFunction(maxBytes: number): string {
  return `logger() {
  left=$2
  tries=0
  while :; do
    if said=$(dd bs=${loggerBlock} count="$left" oflag=append conv=notrunc of="$1" 2>&1); then
      records=\${said%% records in*}
      records=\${records##*[!0-9+]}
      [ $(( $records )) -lt "$left" ] && break
    else
      tries=$(( tries + 1 ))
      [ $tries -gt 3 ] && { cat >/dev/null; break; }
      : >"$1"
    fi
    size=$(stat -c %s "$1")
    if [ "$size" -ge ${maxBytes - loggerBlock} ]; then mv -f "$1" "$1.1"; size=0; fi
    left=$(( (${maxBytes} - size) / ${loggerBlock} ))
    [ "$left" -ge 1 ] || left=1
  done
  : >"$1.end"
}`;
}

/** Blocks that still fit into a log file of that size. */
export function logBlocks(maxBytes: number, sizeBytes: number): number {
  return Math.max(1, Math.floor((maxBytes - sizeBytes) / loggerBlock));
}

/** Lines of sh for a first process: signals go on to the program that is started next, in the background. */
export const passSignalsOn =
  'for signal in TERM INT HUP USR1 USR2; do trap "cut=1; kill -$signal \\$! 2>/dev/null" $signal; done';

/** Lines of sh that follow: they reap until the program `$program` has ended, and leave in `$status` what it ended with. */
export const awaitProgram = `while :; do
  cut=
  wait $program
  status=$?
  kill -0 $program 2>/dev/null && continue
  [ -z "$cut" ] && break
  # The wait may have been cut short by the signal: its status is that of the signal then, and the next is the program's.
  wait $program
  last=$?
  [ $last -eq 127 ] || status=$last
  break
done`;
