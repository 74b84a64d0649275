// Random tests take the same way each time, so that a run says something about the change and not about the day.
// KEYGATE_TEST_SEED sets another: any number, as often as one likes.

import fc from 'fast-check';

fc.configureGlobal({ seed: Number(process.env['KEYGATE_TEST_SEED'] ?? 1) });
