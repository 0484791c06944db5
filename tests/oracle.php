<?php

// What Composer itself makes of Git repositories and of p2 documents.
//
// Standard input is JSON: `repositories` are folders, `documents` are lists of p2 documents, each by a name of
// the caller's choice. Standard output has the same two objects, with the packages that Composer found, or the
// text of what it threw.

declare(strict_types=1);

use Composer\Factory;
use Composer\IO\NullIO;
use Composer\MetadataMinifier\MetadataMinifier;
use Composer\Package\AliasPackage;
use Composer\Package\BasePackage;
use Composer\Package\Loader\ArrayLoader;
use Composer\Package\Version\VersionParser;
use Composer\Repository\VcsRepository;
use Composer\Util\ErrorHandler;
use Composer\Util\HttpDownloader;

setlocale(LC_ALL, 'C');
require 'Composer/autoload.php'; // on PHP's include path, where distributions put it
ErrorHandler::register(); // as the program does: a warning of PHP's ends what it was doing

function describe(BasePackage $package): array
{
    // Composer 2.5 leaves "#" in the version of a branch, which nobody can require then; newer ones write "+"
    $version = str_replace('#', '+', $package->getPrettyVersion());
    $renamed = $version !== $package->getPrettyVersion();

    $links = [];
    foreach (BasePackage::$supportedLinkTypes as $type => $options) {
        foreach ($package->{'get' . ucfirst($options['method'])}() as $link) {
            $pretty = $link->getPrettyConstraint();
            $constraint = $renamed && $pretty === 'self.version'
                ? (new VersionParser())->parseConstraints($version)
                : $link->getConstraint();
            $links[$type][$link->getTarget()] = [$pretty, (string) $constraint];
        }
    }

    return [
        'name' => $package->getName(),
        'version' => $version,
        'normalized' => str_replace('#', '+', $package->getVersion()),
        // Pricore gives no source where clients cannot reach it
        'reference' => $package->getSourceReference() ?? $package->getDistReference(),
        'type' => $package->getType(),
        'time' => $package->getReleaseDate()->format(DATE_ATOM),
        'about' => [
            'keywords' => array_values($package->getKeywords() ?? []),
            'license' => array_values($package->getLicense()),
            'bin' => array_values($package->getBinaries()),
            'authors' => array_values($package->getAuthors()),
            'funding' => array_values($package->getFunding()),
            'support' => $package->getSupport(),
            'suggest' => $package->getSuggests(),
        ],
        'default_branch' => $package->isDefaultBranch(),
        'links' => (object) array_map(fn (array $of_type) => (object) $of_type, $links),
        'aliases' => [],
    ];
}

/** The packages as lists; an alias stands with the version that it is an alias of. */
function describe_all(iterable $packages): array
{
    $found = [];
    $aliases = [];
    foreach ($packages as $package) {
        if ($package instanceof AliasPackage) {
            $alias = $package;
            $package = $alias->getAliasOf();
            $aliases[spl_object_id($package)][] = [$alias->getPrettyVersion(), $alias->getVersion()];
        }
        $found[spl_object_id($package)] = $package;
    }

    return array_map(
        fn (int $id) => ['aliases' => $aliases[$id] ?? []] + describe($found[$id]),
        array_keys($found)
    );
}

function answer(callable $packages): array|string
{
    try {
        return describe_all($packages());
    } catch (Throwable $error) {
        return get_class($error) . ': ' . $error->getMessage();
    }
}

$question = json_decode(stream_get_contents(STDIN), true, 1024, JSON_THROW_ON_ERROR);
$io = new NullIO();
$config = Factory::createConfig($io);
$downloader = new HttpDownloader($io, $config);

$read = function (string $folder) use ($io, $config, $downloader): array {
    return (new VcsRepository(['type' => 'git', 'url' => $folder], $io, $config, $downloader))->getPackages();
};

// the same steps as ComposerRepository::loadAsyncPackages
$load = function (array $documents): array {
    $packages = [];
    foreach ($documents as $document) {
        foreach ($document['packages'] as $versions) {
            array_push($packages, ...(new ArrayLoader())->loadPackages(MetadataMinifier::expand($versions)));
        }
    }

    return $packages;
};

echo json_encode([
    'repositories' => (object) array_map(fn ($folder) => answer(fn () => $read($folder)), $question['repositories']),
    'documents' => (object) array_map(fn ($documents) => answer(fn () => $load($documents)), $question['documents']),
], JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES);
