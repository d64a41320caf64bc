import { apiConformance } from '@cloudos/conformance';
import plugin from './plugin.ts';

apiConformance(plugin, { path: '/ws/v1/cluster/info' });
