// Prometheus's text form of metrics (exposition format 0.0.4), written when somebody asks. Those who count keep plain
// numbers; a library that is told of each observation would cost the road more than the observation (and 20 MB).

export const EXPOSITION_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

export type Labels = Readonly<Record<string, string | number>>;

export class Exposition {
  readonly #lines: string[] = [];

  gauge(name: string, help: string, value: number): void {
    this.#head(name, help, 'gauge');
    this.#sample(name, {}, value);
  }

  /** One number for each of several things. */
  gauges(name: string, help: string, samples: Iterable<readonly [Labels, number]>): void {
    this.#head(name, help, 'gauge');
    for (const [labels, value] of samples) this.#sample(name, labels, value);
  }

  /** @param samples label values and the count so far */
  counter(name: string, help: string, samples: Iterable<readonly [Labels, number]>): void {
    this.#head(name, help, 'counter');
    for (const [labels, value] of samples) this.#sample(name, labels, value);
  }

  /** @param bounds upper bounds of the buckets, ascending; `counts` has one more, for what is beyond the last */
  histogram(
    name: string,
    help: string,
    bounds: readonly number[],
    samples: Iterable<{ readonly labels: Labels; readonly counts: ArrayLike<number>; readonly sum: number }>,
  ): void {
    this.#head(name, help, 'histogram');
    for (const { labels, counts, sum } of samples) {
      let total = 0;
      for (let at = 0; at < counts.length; at++) {
        total += counts[at] ?? 0;
        this.#sample(`${name}_bucket`, { ...labels, le: bounds[at] ?? '+Inf' }, total);
      }
      this.#sample(`${name}_sum`, labels, sum);
      this.#sample(`${name}_count`, labels, total);
    }
  }

  text(): string {
    return `${this.#lines.join('\n')}\n`;
  }

  #head(name: string, help: string, type: string): void {
    this.#lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
  }

  #sample(name: string, labels: Labels, value: number): void {
    const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escaped(String(text))}"`);
    this.#lines.push(pairs.length === 0 ? `${name} ${value}` : `${name}{${pairs.join(',')}} ${value}`);
  }
}

function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
