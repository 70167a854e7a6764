"""The names behind object-name matching: one group a line. Ours, from everyday English; a Python string and no
data file, so that a changed word changes the code fingerprint of every stage that merges.

A maintained library would be better. None was found (PyPI, late 2026) whose wheel carries an English thesaurus:
NLTK, wn and TextBlob download WordNet at run time; lemmatisers know no synonyms; the one package that does carry
a thesaurus keeps it as pickles. `ouro.annotate.english.lexicon.same_name` is the one place to put such a library in.
"""

from __future__ import annotations

from typing import Final

# Names of one thing. A word stands in one group only; words of several everyday senses (glass, light, plant) in none.
SYNONYMS: Final = """
couch sofa settee
armchair easy-chair
chair seat
stool barstool bar-stool
television tv television-set tv-set telly
phone telephone cellphone cell-phone mobile smartphone mobile-phone
laptop notebook-computer laptop-computer
computer pc desktop-computer
monitor computer-monitor computer-screen screen
refrigerator fridge
stove cooker range stovetop
microwave microwave-oven
faucet tap
sink washbasin basin
toilet lavatory
bathtub bath tub
dresser chest-of-drawers bureau
wardrobe closet armoire
cabinet cupboard
nightstand bedside-table night-table
bookcase bookshelf
rug carpet mat
curtain drape
lamp table-lamp floor-lamp
pillow cushion
blanket throw quilt comforter duvet
trash-can trashcan garbage-can dustbin bin wastebasket
vase flower-vase
picture-frame frame
clock wall-clock
candle taper
cup mug teacup coffee-cup coffee-mug
wineglass wine-glass goblet
bottle flask
jug pitcher
pot saucepan cooking-pot
pan frying-pan skillet
plate dish
knife table-knife
kettle teakettle teapot
napkin serviette
towel dishcloth
cookie biscuit
candy sweet
french-fry chip
donut doughnut
eggplant aubergine
zucchini courgette
sandwich sub
soda soft-drink pop
car automobile auto motorcar
truck lorry pickup-truck pickup
bus coach autobus
taxi cab taxicab
train locomotive
tram streetcar trolley
airplane plane aeroplane aircraft jet
helicopter chopper
motorcycle motorbike
bicycle bike
scooter moped
boat rowboat
ship vessel
wagon cart
tire tyre
road street roadway
sidewalk pavement footpath
path trail track
crosswalk zebra-crossing
traffic-light stoplight traffic-signal
streetlight street-lamp lamppost street-light
fire-hydrant hydrant
sign signboard signpost
billboard hoarding
poster placard
mailbox postbox letterbox
parking-lot car-park
bridge overpass
building edifice
skyscraper high-rise
house home
cottage cabin
apartment flat
shop store
gate gateway
wall partition
door doorway
grill barbecue
counter countertop worktop
desk writing-desk
lightbulb light-bulb bulb
plug power-plug
outlet socket power-outlet
van minivan
window windowpane
roof rooftop
stair staircase stairway step
elevator lift
floor flooring
column pillar
tent marquee
person human individual
man guy gentleman
woman lady
boy lad
girl lass
child kid youngster
baby infant toddler
crowd throng
policeman police-officer cop policewoman
fireman firefighter
doctor physician
cyclist bicyclist biker
pedestrian passerby
player sportsman athlete
dog hound
puppy pup
cat feline
kitten kitty
horse steed
cow cattle
bull ox
pig hog
donkey mule
rabbit bunny hare
chicken hen
rooster cock
bush shrub
flower blossom bloom
leaf foliage
grass lawn turf
forest wood woodland
hill hillside
rock boulder stone
sea ocean
river stream
lake pond
beach seashore shore
sky heaven
photo photograph
painting artwork
sculpture statue
newspaper paper
magazine journal
notebook notepad
pen ballpoint ballpoint-pen
eraser rubber-eraser
glue paste
bandage plaster
playground play-area
airport airfield
cinema movie-theater
pharmacy drugstore
restaurant diner eatery
cafe coffee-shop cafeteria
hospital clinic
lawyer attorney
salesperson salesman shop-assistant
chef cook
waiter waitress server
soldier trooper
student pupil
teacher instructor
fence railing
scissors shears
bag sack
backpack rucksack knapsack
handbag purse
suitcase luggage
wallet billfold
umbrella parasol
hat cap
eyeglasses spectacles eyeglass
sunglasses sunglass shades
shirt blouse
t-shirt tee-shirt tshirt
sweater jumper pullover
jacket coat
trousers pants slacks
dress gown
shoe footwear
sneaker trainer running-shoe
boot wellington
sock stocking
necktie tie
necklace pendant
glove mitten
watch wristwatch
headphones earphones headset
speaker loudspeaker
camera camcorder
keyboard computer-keyboard
mouse computer-mouse
remote remote-control
cable wire cord
football soccer-ball
racket racquet
sailboat yacht
rubbish trash garbage litter
heading headline
chart graph plot
"""

# What a thing is a kind of: "kind: names". Matched only where no thing of the same name is left.
KINDS: Final = """
person: man woman boy girl child baby policeman fireman doctor cyclist pedestrian player driver rider chef waiter worker student teacher tourist passenger skier surfer
child: boy girl baby
adult: man woman
animal: dog puppy cat kitten horse pony cow bull sheep goat pig donkey rabbit hen rooster bear elephant giraffe zebra lion tiger monkey bird duck goose fish deer
pet: dog puppy cat kitten rabbit
dog: puppy
cat: kitten
horse: pony
bird: chicken rooster duck goose swan owl eagle pigeon seagull parrot penguin
vehicle: car truck van bus taxi train tram motorcycle bicycle scooter boat ship wagon tractor airplane helicopter ambulance
car: taxi sedan hatchback suv convertible
boat: ship sailboat canoe kayak
furniture: couch armchair chair stool table desk dresser wardrobe cabinet nightstand bookcase bed bench
chair: armchair stool
fruit: apple banana orange pear lemon lime grape peach strawberry melon pineapple
vegetable: carrot tomato potato onion pepper cucumber broccoli eggplant zucchini cabbage lettuce
food: sandwich pizza cake cookie donut candy bread burger salad soup pasta
drink: coffee tea soda juice beer wine
container: box bottle jar jug basket bucket can
tableware: plate bowl cup knife fork spoon
appliance: refrigerator stove oven microwave toaster dishwasher kettle
clothing: shirt t-shirt sweater jacket trousers jeans dress skirt sock hat glove
building: house skyscraper cottage church tower garage shop barn castle
plant: tree bush flower grass cactus fern
device: phone laptop computer monitor television camera keyboard mouse remote
picture: painting photo poster
document: newspaper magazine letter form invoice receipt page
"""  # noqa: E501  (one group a line)
