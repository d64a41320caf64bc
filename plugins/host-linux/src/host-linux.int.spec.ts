import { hostConformance } from '@cloudos/conformance';
import hostLinux from './index.ts';

hostConformance(hostLinux, {
  attributes: ['os', 'os.version', 'kernel', 'arch', 'hostname', 'cgroup', 'namespaces', 'kvm'],
});
