// The compose file in containers of a real engine, by the compose tool.

import { execFile } from 'node:child_process'

function run(program, args) {
  return new Promise(resolve => {
    execFile(program, args, { maxBuffer: 1 << 24 }, (error, out, err) => {
      resolve({ code: error ? (error.code ?? 1) : 0, out: out.trim(), err: err.trim() })
    })
  })
}

async function must(program, args) {
  const { code, out, err } = await run(program, args)
  if (code !== 0) throw new Error(`${program} ${args.join(' ')}: ${out}\n${err}`)
  return out
}

export class Containers {
  url = `http://127.0.0.1:${process.env.PORT}`
  #ids = new Map()

  static async up() {
    const stage = new Containers()
    try {
      await must('docker-compose', ['up', '--detach', '--no-build'])
    } catch (error) {
      await stage.down()
      throw error
    }
    return stage
  }

  async down() {
    await must('docker-compose', ['down', '--volumes', '--timeout', '1'])
  }

  /** What there is to be seen when something is wrong. */
  async logs() {
    const [places, logs] = await Promise.all([run('docker-compose', ['ps']), run('docker-compose', ['logs', '--no-color', '--tail', '20'])])
    return `${places.out}\n${logs.out}`
  }

  async exec(service, command) {
    return await run('docker', ['exec', await this.#id(service), ...command])
  }

  async healthy(service) {
    return (await this.#inspect(service, '.State.Health.Status')) === 'healthy'
  }

  async kill(service) {
    await must('docker', ['kill', '--signal', 'KILL', await this.#id(service)])
  }

  async start(service) {
    await must('docker', ['start', await this.#id(service)])
  }

  /** Stops it as the file says; gives its exit code. */
  async stop(service) {
    await must('docker-compose', ['stop', service])
    return Number(await this.#inspect(service, '.State.ExitCode'))
  }

  async pause(service) {
    await must('docker', ['pause', await this.#id(service)])
  }

  async unpause(service) {
    await must('docker', ['unpause', await this.#id(service)])
  }

  async cut(service) {
    await must('docker', ['network', 'disconnect', network(), await this.#id(service)])
  }

  async join(service) {
    await must('docker', ['network', 'connect', '--alias', service, network(), await this.#id(service)])
  }

  async user(service) {
    const { out } = await this.exec(service, ['bash', '-c', 'echo "$(</proc/1/status)"'])
    const field = name => new RegExp(`^${name}:\\s*(\\w+)`, 'm').exec(out)?.[1]
    const readOnly = await this.#inspect(service, '.HostConfig.ReadonlyRootfs')
    return { uid: Number(field('Uid')), readOnly: readOnly === 'true', capabilities: parseInt(field('CapEff'), 16) }
  }

  async #id(service) {
    if (!this.#ids.has(service)) this.#ids.set(service, await must('docker-compose', ['ps', '--quiet', service]))
    return this.#ids.get(service)
  }

  async #inspect(service, what) {
    return await must('docker', ['inspect', '--format', `{{${what}}}`, await this.#id(service)])
  }
}

const network = () => `${process.env.COMPOSE_PROJECT_NAME}_cluster`
