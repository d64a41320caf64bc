import { guestConformance } from '@cloudos/conformance';
import { suiteOn } from './conformance.fixture.ts';
import guestLxd from './index.ts';

guestConformance(guestLxd, suiteOn('lxd'));
