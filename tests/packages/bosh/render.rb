# Renders the templates of a BOSH job, as the director does.
#
# Standard input: a JSON list of requests, each with `job` (folder of the job, with `spec` or `job.MF`), `properties` (of the
# manifest), `links`, and `spec` (of the instance). Standard output: a JSON list with an answer for each:
# `files`, the text of each file of the job by its path, or `error`.
#
# A template sees the properties that the spec declares, with their defaults, and no others. Properties
# of the manifest that the spec does not declare are an error here; BOSH ignores them.

require "erb"
require "json"
require "ostruct"
require "yaml"

class Unknown < StandardError; end

# Look-ups of properties by their path, for the job and for links.
module Lookup
  def p(names, *default)
    Array(names).each do |name|
      value = lookup(name)
      return value unless value.nil?
    end
    return default.first unless default.empty?

    raise Unknown, "no value for the property #{Array(names).join(", ")}"
  end

  def if_p(*names)
    values = names.map { |name| lookup(name) }
    return Otherwise.new(self) if values.any?(&:nil?)

    yield(*values)
    Done.new
  end

  private

  def lookup(name)
    name.split(".").inject(@values) { |values, key| values.nil? ? nil : values[key] }
  end
end

# What follows a block that did not run.
class Otherwise
  def initialize(context)
    @context = context
  end

  def else
    yield
  end

  def else_if_p(*names, &block)
    @context.if_p(*names, &block)
  end

  def else_if_link(name, &block)
    @context.if_link(name, &block)
  end
end

# What follows a block that ran.
class Done
  def else; end

  def else_if_p(*)
    self
  end

  def else_if_link(*)
    self
  end
end

class Link
  include Lookup

  attr_reader :instances

  def initialize(link)
    @values = link.fetch("properties")
    @instances = link.fetch("instances").map { |instance| OpenStruct.new(instance) }
  end
end

class Context
  include Lookup

  attr_reader :spec

  def initialize(values, links, spec)
    @values = values
    @links = links
    @spec = OpenStruct.new(spec)
  end

  def link(name)
    Link.new(@links.fetch(name) { raise Unknown, "no link #{name}" })
  end

  def if_link(name)
    return Otherwise.new(self) unless @links.key?(name)

    yield link(name)
    Done.new
  end

  def render(template)
    ERB.new(template, trim_mode: "-").result(binding)
  end
end

def refuse_undeclared(given, declared, path = [])
  name = path.join(".")
  return if declared.include?(name)

  inside = declared.any? { |property| name.empty? || property.start_with?("#{name}.") }
  raise Unknown, "the spec does not declare the property #{name}" unless inside
  raise Unknown, "the property #{name} must be a map" unless given.is_a?(Hash)

  given.each { |key, value| refuse_undeclared(value, declared, [*path, key]) }
end

def effective(given, properties)
  properties.each_with_object({}) do |(name, property), values|
    *sections, key = name.split(".")
    value = name.split(".").inject(given) { |found, part| found.nil? ? nil : found[part] }
    target = sections.inject(values) { |hash, section| hash[section] ||= {} }
    target[key] = value.nil? ? property["default"] : value
  end
end

def render(request)
  job = request.fetch("job")
  spec = YAML.safe_load(File.read(File.exist?("#{job}/spec") ? "#{job}/spec" : "#{job}/job.MF"))
  refuse_undeclared(request.fetch("properties"), spec.fetch("properties").keys)
  consumed = spec.fetch("consumes", []).map { |link| link.fetch("name") }
  unknown = request.fetch("links").keys - consumed
  raise Unknown, "the spec does not consume the links #{unknown.join(", ")}" unless unknown.empty?

  values = effective(request.fetch("properties"), spec.fetch("properties"))
  templates = spec.fetch("templates").transform_keys { |name| "templates/#{name}" }
  templates.merge("monit" => "monit").to_h do |template, path|
    context = Context.new(values, request.fetch("links"), request.fetch("spec"))
    [path, context.render(File.read("#{job}/#{template}"))]
  end
end

answers = JSON.parse($stdin.read).map do |request|
  { files: render(request) }
rescue StandardError => error
  { error: error.message }
end
puts JSON.generate(answers)
