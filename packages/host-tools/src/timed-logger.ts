/** The functions of {@link timedLogger}: `keep_logs(<most bytes>, <descriptor of stdout>, <of stderr>)` returns when both have ended. */
export const timedLoggerFunctions = `
use strict; use warnings; use Time::HiRes qw(time); use IO::Select; use Fcntl;
my $max; my $shareMs = 5; my $readMax = 65536;
my (%name, %log, %times, %size, %timesSize, %last);
my $select = IO::Select->new;
sub begin {
  my $name = shift;
  sysopen($log{$name}, $name, O_WRONLY | O_APPEND | O_CREAT, 0644) or exit 1;
  sysopen($times{$name}, "$name.times", O_WRONLY | O_APPEND | O_CREAT, 0644) or exit 1;
  $size{$name} = -s $log{$name}; $timesSize{$name} = -s $times{$name}; $last{$name} = -1;
}
sub turn {
  my $name = shift;
  rename("$name.times", "$name.times.1"); rename($name, "$name.1");
  begin($name);
}
sub keep {
  my ($name, $data) = @_;
  my $ms = int(time() * 1000);
  if ($ms - $last{$name} >= $shareMs) {
    my $wrote = syswrite($times{$name}, pack('Q>Q>', $ms, $size{$name}));
    if (defined $wrote && $wrote == 16) { $timesSize{$name} += 16; $last{$name} = $ms; }
    else { truncate($times{$name}, $timesSize{$name}); }
  }
  my ($at, $tries) = (0, 0);
  while ($at < length $data) {
    my $wrote = syswrite($log{$name}, $data, length($data) - $at, $at);
    if (defined $wrote) { $at += $wrote; $size{$name} += $wrote; }
    elsif ($tries++) { last; }
    else { truncate($log{$name}, 0); truncate($times{$name}, 0); $size{$name} = $timesSize{$name} = 0; }
  }
}
sub keep_logs {
  my ($bytes, $stdout, $stderr) = @_;
  $max = $bytes;
  for (['stdout', $stdout], ['stderr', $stderr]) {
    my ($name, $fd) = @$_;
    begin($name);
    open(my $from, '<&=', $fd) or exit 1;
    $name{fileno $from} = $name;
    $select->add($from);
  }
  keep_on();
}
sub keep_on {
  while ($select->count) {
    for my $from ($select->can_read) {
      my $name = $name{fileno $from};
      turn($name) if $size{$name} >= $max || $timesSize{$name} >= $max;
      my $room = $max - $size{$name};
      my $got = sysread($from, my $data, $room < $readMax ? $room : $readMax);
      next if !defined $got && $!{EINTR};
      if ($got) { keep($name, $data); next; }
      $select->remove($from); close $from;
      open(my $end, '>', "$name.end"); close $end;
    }
  }
}
`;

/**
 * What writes the logs of a guest, with their times, where the host has perl (on Debian and Ubuntu perl-base is always there): one small
 * process for both streams. Argument: the most bytes of a file. It reads descriptors 3 (standard output of the guest) and
 * 5 (standard error), appends to `stdout` and `stderr` in its working directory, and writes down in `<stream>.times` when
 * what was written: records of 16 bytes, milliseconds of the epoch and position in the file, big-endian. A full file is
 * moved to `<stream>.1`, its times with it. Writes within 5 ms share a record, and times never take more room than what
 * they are about: a file whose times are full is moved too.
 */
export const timedLogger = `${timedLoggerFunctions}
keep_logs(shift, 3, 5);
`;
