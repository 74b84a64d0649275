// A Redis or Valkey for the tests.

import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { onPath } from './files.mjs';
import { converse, privateFolder, startServer } from './server.mjs';

export const redis = {
  name: 'Redis',
  variable: 'KEYGATE_TEST_REDIS_URL',
  packages: ['redis-server'],

  async find() {
    return process.env[this.variable] || (await this.startPrivate()) || (await this.findRunning());
  },

  async startPrivate() {
    const program = onPath('valkey-server') ?? onPath('redis-server');
    if (program === null) return null;
    const password = randomBytes(16).toString('hex');
    const place = privateFolder('redis');
    const port = await startServer(
      place,
      { name: this.name, signal: 'TERM', answers: redisAnswers },
      (port) => {
        // In a file, because the arguments of a process are there for all to see.
        const settings = [
          'bind 127.0.0.1',
          `port ${port}`,
          `dir ${place.path}`,
          'save ""',
          'appendonly no',
          'daemonize no',
        ];
        writeFileSync(place.file('conf'), `${settings.join('\n')}\nrequirepass ${password}\n`, {
          mode: 0o600,
        });
        place.own('conf');
        return [program, place.file('conf')];
      },
    );
    return `redis://default:${password}@127.0.0.1:${port}/0`;
  },

  async findRunning() {
    const empty = await converse(6379, 'SELECT 15\r\nDBSIZE\r\n', (reply) => {
      const text = reply.toString('latin1');
      return text.split('\r\n').length < 3 ? undefined : text === '+OK\r\n:0\r\n';
    });
    return empty ? 'redis://127.0.0.1:6379/15' : null;
  },
};

const redisAnswers = async (port) =>
  (await converse(port, 'PING\r\n', (reply) =>
    /^(\+PONG|-NOAUTH)/.test(reply.toString('latin1')) ? true : undefined,
  )) === true;
