# Launches zones. src/spawner-program.ts puts the functions that keep logs and the numbers of system calls (%call) in front of
# this, and says what it is asked and what it answers.
my (%waiting, %leader);
$SIG{CHLD} = 'IGNORE';
$0 = shift;
my $requests = '';
sub reply { syswrite(STDOUT, "$_[0]\n") }
sub call { my $name = shift; return syscall($call{$name}, @_) == 0 }
sub put { my ($file, $text) = @_; sysopen(my $to, $file, 1) or return 0; return defined syswrite($to, $text) }
sub started {
  open(my $from, '<', "/proc/$_[0]/stat") or return '';
  my $text = <$from>; $text =~ s/.*\) //s;
  return (split / /, $text)[19];
}
sub read_plan {
  open(my $from, '<:raw', $_[0]) or die "the plan cannot be read: $!\n";
  local $/; my @fields = split /\0/, <$from>, -1; my %plan;
  while (@fields > 1) { my ($name, $count) = splice @fields, 0, 2; push @{$plan{$name}}, [splice @fields, 0, $count]; }
  return \%plan;
}
sub attribute { my ($type, $data) = @_; return pack('S S', 4 + length $data, $type) . $data . "\0" x (-length($data) & 3) }
sub index_of {
  my $name = $_[0];
  my $request = pack('a16 x24', $name);
  socket(my $inet, 2, 2, 0) or die "socket: $!\n";
  ioctl($inet, 0x8933, $request) or die "there is no interface $name: $!\n";
  return unpack('x16 l', $request);
}
sub ask {
  my ($link, $type, $flags, $body) = @_;
  my $message = pack('L S S L L', 16 + length $body, $type, $flags, 1, 0) . $body;
  send($link, $message, 0, pack('S x2 L L', 16, 0, 0)) or die "netlink: $!\n";
  defined sysread($link, my $answer, 8192) or die "netlink: $!\n";
  return -unpack('x16 l', $answer);
}
sub plug {
  my ($link, $pid, $bridge, $name, $mac) = @_;
  my $peer = pack('C x S l L L', 0, 0, 0, 0, 0) . attribute(3, "eth0\0") . attribute(1, pack('H12', $mac =~ tr/://dr)) . attribute(19, pack('L', $pid));
  my $info = attribute(1, "veth\0") . attribute(2, attribute(1, $peer));
  my $body = pack('C x S l L L', 0, 0, 0, 1, 1) . attribute(3, "$name\0") . attribute(10, pack('L', $bridge)) . attribute(18, $info);
  if (my $error = ask($link, 16, 0x605, $body)) { $! = $error; die "the cable could not be made: $!\n"; }
}
sub unplug {
  socket(my $link, 16, 3, 0) or die "netlink: $!\n";
  my $error = ask($link, 17, 0x5, pack('C x S l L L', 0, 0, 0, 0, 0) . attribute(3, "$_[0]\0"));
  # There is no such interface: somebody was faster.
  if ($error and $error != 19) { $! = $error; die "the cable could not be removed: $!\n"; }
}
sub configure {
  my ($address, $mask) = @_;
  socket(my $inet, 2, 2, 0) or die "socket: $!\n";
  my $up = sub { my $request = pack('a16 S x22', $_[0], 0x41); ioctl($inet, 0x8914, $request) or die "$_[0] does not come up: $!\n"; };
  $up->('lo');
  return unless defined $address;
  for ([0x8916, $address], [0x891c, $mask]) {
    my $request = pack('a16 S S C4 x16', 'eth0', 2, 0, split(/\./, $_->[1]));
    ioctl($inet, $_->[0], $request) or die "the address could not be set: $!\n";
  }
  $up->('eth0');
}
sub line_of { open(my $from, '<', $_[0]) or return ''; return <$from> // '' }
sub is_up { return line_of("/sys/class/net/$_[0]/operstate") eq "up\n" }
# An interface whose other end has just come up sends nothing, and counts nothing of what it drops, until the kernel gets round
# to it: at once when somebody asks for its carrier (since Linux 6.8). Past the bound the zone runs all the same.
sub await_sending {
  for (1 .. 100) {
    line_of("/sys/class/net/$_[0]/carrier");
    return if is_up($_[0]);
    select(undef, undef, undef, 0.01);
  }
}
sub mount_all {
  my $none = '';
  for (@_) {
    my ($source, $target, $type, $flags, $again, $data) = @$_;
    if ($type eq 'disk') {
      system('mount', '-t', 'ext4', '-o', $data, $source, $target) == 0 or die "mount of $target failed\n";
      next;
    }
    my $options = $data eq '' ? 0 : $data;
    call('mount', $source, $target, $type, $flags + 0, $options) or die "mount of $target failed: $!\n";
    next if $again == 0;
    call('mount', $none, $target, $none, $again + 0, 0) or die "mount of $target failed: $!\n";
  }
}
sub drop {
  my $user = $_[0] + 0;
  for my $capability (0 .. 63) { last if !call('prctl', 24, $capability, 0, 0, 0); }
  call('prctl', 47, 4, 0, 0, 0);
  call('setgroups', 0, 0) or die "setgroups: $!\n";
  call('setresgid', $user, $user, $user) or die "setresgid: $!\n";
  call('setresuid', $user, $user, $user) or die "setresuid: $!\n";
  call('prctl', 38, 1, 0, 0, 0) or die "no_new_privs: $!\n";
  my ($header, $nothing) = (pack('L l', 0x20080522, 0), pack('L6', (0) x 6));
  call('capset', $header, $nothing) or die "capset: $!\n";
}
sub zone {
  my ($plan, $born, $go, $up, $out, $err) = @_;
  for (map { $_->[0] } @{$plan->{group}}) {
    next if defined $born and $_ eq $born;
    my $file = -e "$_/tasks" ? 'tasks' : 'cgroup.procs';
    put("$_/$file", '0') or die "the control group cannot be joined: $!\n";
  }
  syscall($call{setsid});
  call('unshare', 0x0e020000) or die "unshare: $!\n";
  my ($none, $root, $name) = ('', '/', $plan->{hostname}[0][0]);
  call('mount', $none, $root, $none, 0x44000, 0) or die "mounts cannot be made private: $!\n";
  call('sethostname', $name, length $name) or die "sethostname: $!\n";
  put('/proc/sys/net/ipv4/ip_unprivileged_port_start', '0');
  mount_all(@{$plan->{mount}});
  open(STDIN, '<', 'environment') or die "the environment cannot be read: $!\n";
  unlink 'environment';
  my $word = <$go>;
  exit 98 if !defined $word;
  my ($here, $old, $inside) = ('.', '.host', '/.host');
  chdir 'root' or die "root: $!\n";
  call('pivot_root', $here, $old) or die "pivot_root: $!\n";
  chdir '/' or die "/: $!\n";
  call('umount2', $inside, 2) or die "umount: $!\n";
  drop($plan->{user}[0][0]);
  # The first process in the zone says on 8 how it goes.
  for ([$out, 1], [$err, 2], [$up, 8]) {
    my ($from, $to) = (fileno $_->[0], $_->[1]);
    if ($from == $to) { fcntl($_->[0], 2, 0) or die "fcntl: $!\n"; }
    else { syscall($call{dup3}, $from, $to, 0) >= 0 or die "dup: $!\n"; }
  }
  my @words = @{$plan->{command}[0]};
  exec { $words[0] } @words or die "$words[0] cannot be run: $!\n";
}
sub fifo {
  my $name = $_[0];
  call('mknodat', -100, $name, 0010666, 0) or die "mkfifo: $!\n";
  open(my $both, '+<', $name) or die "$name: $!\n";
  open(my $read, '<', $name) or die "$name: $!\n";
  open(my $write, '>', $name) or die "$name: $!\n";
  return ($read, $write);
}
# In the unified hierarchy a process can be born into its group: it need not be moved there.
sub born_into {
  my $group = $_[0];
  return (fork, undef) if !defined $group;
  open(my $directory, '<', $group) or return (fork, undef);
  my $arguments = pack('Q11', 2 ** 33, 0, 0, 0, 17, 0, 0, 0, 0, 0, fileno $directory);
  my $pid = syscall($call{clone3}, $arguments, length $arguments);
  return $pid < 0 ? (fork, undef) : ($pid, $group);
}
sub child {
  my ($group, $what, @close) = @_;
  my ($pid, $born) = born_into($group);
  die "no process can be made: $!\n" if !defined $pid;
  return $pid if $pid;
  close $_ for @close;
  $what->($born);
  exit 0;
}
sub launch {
  my ($report, $launch, $directory) = @_;
  chdir $directory or die "$directory: $!\n";
  # Who takes the plan back first keeps this launch from happening.
  rename("plan-$launch", 'plan') or exit 0;
  my $plan = read_plan('plan'); unlink 'plan';
  put("$_->[0]/cgroup.procs", '0') for @{$plan->{shims}};
  umask 077; open(STDERR, '>', 'start.err'); umask 0;
  my ($outRead, $out) = fifo('out'); my ($errRead, $err) = fifo('err');
  umask 022;
  child(undef, sub { open(STDERR, '>', '/dev/null'); keep_logs($plan->{logs}[0][0], fileno $outRead, fileno $errRead) }, $report, $out, $err);
  close $outRead; close $errRead;
  # The socket stays in the network of the host; the zone is born into the new one.
  my ($bridge, $name, $mac, @address) = @{($plan->{link} || [[]])->[0]};
  my $index = defined $bridge ? index_of($bridge) : 0;
  socket(my $link, 16, 3, 0) or die "netlink: $!\n";
  call('unshare', 0x60000000) or die "unshare: $!\n";
  pipe(my $goRead, my $go) or die "pipe: $!\n"; pipe(my $upRead, my $up) or die "pipe: $!\n";
  my ($unified) = grep { !-e "$_/tasks" } map { $_->[0] } @{$plan->{group}};
  my $zone = child($unified, sub {
    eval { zone($plan, $_[0], $goRead, $up, $out, $err) };
    syswrite($up, "fail HOST_COMMAND_FAILED $@");
    exit 96;
  }, $report, $go, $upRead, $link);
  # What a zone that has failed already says is worth more than the end of its pipe.
  $SIG{PIPE} = 'IGNORE';
  close $_ for $goRead, $up, $out, $err;
  open(my $run, '>', 'run') or die "run: $!\n";
  print $run join(' ', $launch, $zone, started($zone), $$, started($$), "end\n");
  close $run or die "run: $!\n";
  plug($link, $$, $index, $name, $mac) if defined $bridge;
  configure(@address);
  close $link;
  if (defined $bridge) { await_sending($_) for $name, grep { !is_up($_) } $bridge; }
  syswrite($go, "go\n"); close $go;
  my $line = <$upRead> // "the zone ended before its program ran\n";
  die $line if $line ne "running\n";
  close $upRead;
  $SIG{$_} = 'IGNORE' for qw(HUP INT TERM);
  open(STDERR, '>', '/dev/null');
  syswrite($report, "ok\n"); close $report;
  waitpid($zone, 0);
  my $status = $? & 127 ? 128 + ($? & 127) : $? >> 8;
  my $oom = 0;
  if ($plan->{oom} and open(my $events, '<', $plan->{oom}[0][0])) { /^oom_kill (\d+)/ and $oom = $1 while <$events>; }
  open(my $end, '>', 'ended') or exit 1;
  print $end "$launch $status $oom\n"; close $end;
  rename('ended', $plan->{exit}[0][0]);
}
sub begin_work {
  my ($id, $name, $what) = @_;
  pipe(my $read, my $report) or return reply("$id fail HOST_COMMAND_FAILED pipe: $!");
  my $pid = fork;
  return reply("$id fail HOST_COMMAND_FAILED no process can be made: $!") if !defined $pid;
  if ($pid) { $waiting{$id} = $read; $leader{$id} = $pid; return; }
  setpgrp(0, 0);
  $0 = $name;
  $SIG{CHLD} = 'DEFAULT';
  close $_ for values %waiting;
  open(STDIN, '<', '/dev/null'); open(STDOUT, '>', '/dev/null');
  eval { $what->($report) };
  my $why = $@ =~ s/\n.*//sr;
  $why = "fail HOST_COMMAND_FAILED $why" if $why !~ /^fail /;
  syswrite($report, "$why\n") if $@;
  exit 0;
}
for (;;) {
  my $set = '';
  vec($set, $_, 1) = 1 for 0, map { fileno $_ } values %waiting;
  next if select($set, undef, undef, undef) < 0;
  for my $id (keys %waiting) {
    next if !vec($set, fileno $waiting{$id}, 1);
    if (sysread($waiting{$id}, my $said, 4096)) { reply("$id " . $said =~ s/\n.*//sr); next; }
    reply("$id end"); delete $waiting{$id}; delete $leader{$id};
  }
  next if !vec($set, 0, 1);
  my $got = sysread(STDIN, $requests, 65536, length $requests);
  exit 0 if !$got;
  while ($requests =~ s/\A(\d+) (\S+) ?(.*)\n//) {
    my ($id, $word, $rest) = ($1, $2, $3);
    if ($word eq 'kill') { kill KILL => -$leader{$id} if $leader{$id}; }
    elsif ($word eq 'unplug') { begin_work($id, $0, sub { unplug($rest); syswrite($_[0], "ok\n"); }); }
    else { begin_work($id, "cloudos-zone\0$rest/start.sh", sub { launch($_[0], $word, $rest) }); }
  }
}
